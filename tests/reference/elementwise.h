#pragma once

#include "tests/reference/array.h"

namespace limpid::reference {

template <class S>
Array<S> add(const Array<S>& a, const Array<S>& b) {
  Array<S> y(a.shape);
  for (int64_t i = 0; i < a.numel(); ++i) y[i] = a[i] + b[i];
  return y;
}

template <class S>
Array<S> scale(const Array<S>& x, double factor) {
  Array<S> y(x.shape);
  for (int64_t i = 0; i < x.numel(); ++i) y[i] = x[i] * factor;
  return y;
}

// keeps(i): whether element i stays.
template <class S, class Keeps>
Array<S> dropout(const Array<S>& x, double p, const Keeps& keeps) {
  Array<S> y(x.shape);
  for (int64_t i = 0; i < x.numel(); ++i) y[i] = keeps(i) ? x[i] / (1 - p) : S(0);
  return y;
}

}  // namespace limpid::reference
