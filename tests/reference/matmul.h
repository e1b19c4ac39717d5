#pragma once

#include "tests/reference/array.h"

namespace limpid::reference {

// c = op(a) op(b) + bias   c: (M,N)   a: (M,K), or (K,M) where it is to be transposed   b: (K,N),
// or (N,K)   bias: (N), or null
template <class S>
Array<S> matmul(const Array<S>& a, const Array<S>& b, bool transpose_a, bool transpose_b,
                const Array<S>* bias = nullptr) {
  const int64_t M = transpose_a ? a.cols() : a.rows(), K = transpose_a ? a.rows() : a.cols();
  const int64_t N = transpose_b ? b.rows() : b.cols();
  Array<S> c({M, N});
  for (int64_t m = 0; m < M; ++m)
    for (int64_t n = 0; n < N; ++n) {
      S sum = bias ? (*bias)[n] : S(0);
      for (int64_t k = 0; k < K; ++k)
        sum += (transpose_a ? a(k, m) : a(m, k)) * (transpose_b ? b(n, k) : b(k, n));
      c(m, n) = sum;
    }
  return c;
}

}  // namespace limpid::reference
