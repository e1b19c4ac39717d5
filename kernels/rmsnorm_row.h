#pragma once

#include <cmath>

#include "core/dtype.h"
#include "kernels/put.h"

namespace limpid {

// y = w * xhat, xhat = x / rms(x). Returns 1 / rms(x).
template <class T, class A = Accum<T>>
A rmsnorm_row(T* y, const T* x, const T* w, int64_t C, A eps) {
  A squares = 0;
#pragma omp simd reduction(+ : squares)
  for (int64_t c = 0; c < C; ++c) squares += A(x[c]) * A(x[c]);
  const A rstd = 1 / std::sqrt(squares / A(C) + eps);
#pragma omp simd
  for (int64_t c = 0; c < C; ++c) put(y[c], A(w[c]) * (A(x[c]) * rstd));
  return rstd;
}

// dx = rstd * (w dy - xhat * mean(w dy xhat)) + dresidual with xhat = x * rstd; dw += dy * xhat.
template <bool kResidual, class T, class A = Accum<T>>
void rmsnorm_backward_row(T* dx, A* dw, const T* dy, const T* dresidual, const T* x, const T* w,
                          A rstd, int64_t C) {
  A dot = 0;
#pragma omp simd reduction(+ : dot)
  for (int64_t c = 0; c < C; ++c) {
    const A g = A(dy[c]) * (A(x[c]) * rstd);
    dw[c] += g;
    dot += A(w[c]) * g;
  }
  const A slope = dot / A(C) * rstd;
#pragma omp simd
  for (int64_t c = 0; c < C; ++c) {
    A d = rstd * (A(w[c]) * A(dy[c]) - slope * A(x[c]));
    if constexpr (kResidual) d += A(dresidual[c]);
    put(dx[c], d);
  }
}

}  // namespace limpid
