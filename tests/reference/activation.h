#pragma once

#include <numbers>

#include "tests/reference/array.h"

namespace limpid::reference {

template <class S>
Array<S> gelu_tanh(const Array<S>& x) {
  Array<S> y(x.shape);
  const double k = std::sqrt(2 / std::numbers::pi);
  for (int64_t i = 0; i < x.numel(); ++i)
    y[i] = 0.5 * x[i] * (1.0 + std::tanh(k * (x[i] + 0.044715 * x[i] * x[i] * x[i])));
  return y;
}

inline Array<double> gelu_exact(const Array<double>& x) {
  Array<double> y(x.shape);
  for (int64_t i = 0; i < x.numel(); ++i)
    y[i] = 0.5 * x[i] * std::erfc(-x[i] / std::numbers::sqrt2);
  return y;
}

// x: (R,2F) gate|up   y: (R,F), of shape `out`
template <class S>
Array<S> swiglu(const Array<S>& x, const Shape& out) {
  Array<S> y(out);
  const int64_t F = y.cols();
  for (int64_t r = 0; r < y.rows(); ++r)
    for (int64_t f = 0; f < F; ++f) {
      const S gate = x(r, f);
      y(r, f) = gate / (1.0 + std::exp(-gate)) * x(r, F + f);
    }
  return y;
}

}  // namespace limpid::reference
