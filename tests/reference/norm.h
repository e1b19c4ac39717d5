#pragma once

#include "tests/reference/array.h"

namespace limpid::reference {

// x, y: (R,C)   w: (C)
template <class S>
Array<S> rmsnorm(const Array<S>& x, const Array<S>& w, double eps) {
  Array<S> y(x.shape);
  const int64_t C = x.cols();
  for (int64_t r = 0; r < x.rows(); ++r) {
    S squares = 0;
    for (int64_t c = 0; c < C; ++c) squares += x(r, c) * x(r, c);
    const S rms = std::sqrt(squares / double(C) + eps);
    for (int64_t c = 0; c < C; ++c) y(r, c) = w[c] * x(r, c) / rms;
  }
  return y;
}

// x, y: (R,C)   w, b: (C)
template <class S>
Array<S> layernorm(const Array<S>& x, const Array<S>& w, const Array<S>& b, double eps) {
  Array<S> y(x.shape);
  const int64_t C = x.cols();
  for (int64_t r = 0; r < x.rows(); ++r) {
    S sum = 0, squares = 0;
    for (int64_t c = 0; c < C; ++c) sum += x(r, c);
    const S mean = sum / double(C);
    for (int64_t c = 0; c < C; ++c) squares += (x(r, c) - mean) * (x(r, c) - mean);
    const S deviation = std::sqrt(squares / double(C) + eps);
    for (int64_t c = 0; c < C; ++c) y(r, c) = w[c] * (x(r, c) - mean) / deviation + b[c];
  }
  return y;
}

// x, y: (B,T,H+2K,D), the first `heads` of them queries, then as many keys as values   wq, wk: (D)
template <class S>
Array<S> qk_norm(const Array<S>& x, const Array<S>& wq, const Array<S>& wk, int64_t heads,
                 double eps) {
  const int64_t all = x.shape[2], keys = (all - heads) / 2, D = x.shape[3];
  const Array<S> queries = rmsnorm(x, wq, eps), normed_keys = rmsnorm(x, wk, eps);
  Array<S> y(x.shape);
  for (int64_t r = 0; r < x.rows(); ++r)
    for (int64_t d = 0; d < D; ++d) {
      const int64_t h = r % all;
      y(r, d) = h < heads ? queries(r, d) : h < heads + keys ? normed_keys(r, d) : x(r, d);
    }
  return y;
}

}  // namespace limpid::reference
