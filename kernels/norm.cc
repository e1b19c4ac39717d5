#include "kernels/norm.h"

#include <cmath>

#include "kernels/check.h"
#include "kernels/put.h"
#include "kernels/rmsnorm_row.h"
#include "kernels/split.h"

namespace limpid {
namespace {

// Row r of x, or where there is a branch that of sum = x + branch, which it computes.
template <class T>
const T* sum_row(Tensor sum, Tensor x, Tensor branch, int64_t r) {
  const int64_t C = x.cols();
  const T* from = x.as<const T>() + r * C;
  if (!branch) return from;
  const T* other = branch.as<const T>() + r * C;
  T* to = sum.as<T>() + r * C;
#pragma omp simd
  for (int64_t c = 0; c < C; ++c) put(to[c], Accum<T>(from[c]) + Accum<T>(other[c]));
  return to;
}

// Mean and 1 / sqrt(var + eps) of a row.
template <class A>
struct Moments {
  A mean, rstd;
};

template <class T, class A = Accum<T>>
Moments<A> layernorm_row(T* y, const T* x, const T* w, const T* b, int64_t C, A eps) {
  A sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t c = 0; c < C; ++c) sum += A(x[c]);
  const A mean = sum / A(C);
  A squares = 0;
#pragma omp simd reduction(+ : squares)
  for (int64_t c = 0; c < C; ++c) squares += (A(x[c]) - mean) * (A(x[c]) - mean);
  const A rstd = 1 / std::sqrt(squares / A(C) + eps);
#pragma omp simd
  for (int64_t c = 0; c < C; ++c) put(y[c], A(w[c]) * ((A(x[c]) - mean) * rstd) + A(b[c]));
  return {mean, rstd};
}

// dx = rstd * (w dy - mean(w dy) - xhat * mean(w dy xhat)) + dresidual; dw += dy * xhat; db += dy.
template <bool kResidual, class T, class A = Accum<T>>
void layernorm_backward_row(T* dx, A* dw, A* db, const T* dy, const T* dresidual, const T* x,
                            const T* w, Moments<A> m, int64_t C) {
  A sum = 0, dot = 0;
#pragma omp simd reduction(+ : sum, dot)
  for (int64_t c = 0; c < C; ++c) {
    const A g = A(dy[c]), xhat = (A(x[c]) - m.mean) * m.rstd;
    dw[c] += g * xhat;
    db[c] += g;
    sum += A(w[c]) * g;
    dot += A(w[c]) * g * xhat;
  }
  sum /= A(C);
  dot /= A(C);
#pragma omp simd
  for (int64_t c = 0; c < C; ++c) {
    const A xhat = (A(x[c]) - m.mean) * m.rstd;
    A d = m.rstd * (A(w[c]) * A(dy[c]) - sum - xhat * dot);
    if constexpr (kResidual) d += A(dresidual[c]);
    put(dx[c], d);
  }
}

void check_rows(Tensor x, Tensor w, Tensor rstd) {
  require_vector(w, x.dtype, x.cols(), "w");
  require_vector(rstd, accum_dtype(x.dtype), x.rows(), "rstd");
}

void check_forward(Tensor y, Tensor sum, Tensor rstd, Tensor x, Tensor branch, Tensor w) {
  require_like(y, x, "y", "x");
  check_rows(x, w, rstd);
  if (sum || branch) {
    require_like(sum, x, "sum", "x");
    require_like(branch, x, "branch", "x");
  }
}

void check_backward(Tensor dx, Tensor dw, Tensor dy, Tensor dresidual, Tensor x) {
  require_like(dx, x, "dx", "x");
  require_like(dy, x, "dy", "x");
  if (dresidual) require_like(dresidual, x, "dresidual", "x");
  require_vector(dw, accum_dtype(x.dtype), x.cols(), "dw");
}

}  // namespace

void rmsnorm_forward(Stream& stream, Tensor y, Tensor rstd, Tensor x, Tensor w, float eps) {
  add_rmsnorm_forward(stream, y, {}, rstd, x, {}, w, eps);
}

void add_rmsnorm_forward(Stream& stream, Tensor y, Tensor sum, Tensor rstd, Tensor x, Tensor branch,
                         Tensor w, float eps) {
  check_forward(y, sum, rstd, x, branch, w);
  if (stream.device == Device::cuda)
    return cuda::add_rmsnorm_forward(stream, y, sum, rstd, x, branch, w, eps);
  with_dtype(x.dtype, [&]<class T>() {
    using A = Accum<T>;
    const int64_t C = x.cols();
    for_rows(x.rows(), C, [=](int64_t r) {
      const T* row = sum_row<T>(sum, x, branch, r);
      rstd.as<A>()[r] = rmsnorm_row<T>(y.as<T>() + r * C, row, w.as<const T>(), C, A(eps));
    });
  });
}

void rmsnorm_backward(Stream& stream, Tensor dx, Tensor dw, Tensor dy, Tensor dresidual, Tensor x,
                      Tensor w, Tensor rstd) {
  check_rows(x, w, rstd);
  check_backward(dx, dw, dy, dresidual, x);
  if (stream.device == Device::cuda)
    return cuda::rmsnorm_backward(stream, dx, dw, dy, dresidual, x, w, rstd);
  with_dtype(x.dtype, [&]<class T>() {
    using A = Accum<T>;
    const int64_t C = x.cols();
    const auto row = dresidual ? rmsnorm_backward_row<true, T> : rmsnorm_backward_row<false, T>;
    sum_over_rows<A, 1>({dw.as<A>()}, x.rows(), C, [=](int64_t r, std::array<A*, 1> parts) {
      const T* residual = dresidual ? dresidual.as<const T>() + r * C : nullptr;
      row(dx.as<T>() + r * C, parts[0], dy.as<const T>() + r * C, residual, x.as<const T>() + r * C,
          w.as<const T>(), rstd.as<const A>()[r], C);
    });
  });
}

void layernorm_forward(Stream& stream, Tensor y, Tensor mean, Tensor rstd, Tensor x, Tensor w,
                       Tensor b, float eps) {
  add_layernorm_forward(stream, y, {}, mean, rstd, x, {}, w, b, eps);
}

void add_layernorm_forward(Stream& stream, Tensor y, Tensor sum, Tensor mean, Tensor rstd, Tensor x,
                           Tensor branch, Tensor w, Tensor b, float eps) {
  check_forward(y, sum, rstd, x, branch, w);
  require_like(mean, rstd, "mean", "rstd");
  require_like(b, w, "b", "w");
  if (stream.device == Device::cuda)
    return cuda::add_layernorm_forward(stream, y, sum, mean, rstd, x, branch, w, b, eps);
  with_dtype(x.dtype, [&]<class T>() {
    using A = Accum<T>;
    const int64_t C = x.cols();
    for_rows(x.rows(), C, [=](int64_t r) {
      const T* row = sum_row<T>(sum, x, branch, r);
      const auto m =
          layernorm_row<T>(y.as<T>() + r * C, row, w.as<const T>(), b.as<const T>(), C, A(eps));
      mean.as<A>()[r] = m.mean;
      rstd.as<A>()[r] = m.rstd;
    });
  });
}

void layernorm_backward(Stream& stream, Tensor dx, Tensor dw, Tensor db, Tensor dy, Tensor dresidual,
                        Tensor x, Tensor w, Tensor mean, Tensor rstd) {
  check_rows(x, w, rstd);
  require_like(mean, rstd, "mean", "rstd");
  check_backward(dx, dw, dy, dresidual, x);
  require_like(db, dw, "db", "dw");
  if (stream.device == Device::cuda)
    return cuda::layernorm_backward(stream, dx, dw, db, dy, dresidual, x, w, mean, rstd);
  with_dtype(x.dtype, [&]<class T>() {
    using A = Accum<T>;
    const int64_t C = x.cols();
    const auto row = dresidual ? layernorm_backward_row<true, T> : layernorm_backward_row<false, T>;
    sum_over_rows<A, 2>({dw.as<A>(), db.as<A>()}, x.rows(), C,
                        [=](int64_t r, std::array<A*, 2> parts) {
                          const T* residual = dresidual ? dresidual.as<const T>() + r * C : nullptr;
                          row(dx.as<T>() + r * C, parts[0], parts[1], dy.as<const T>() + r * C,
                              residual, x.as<const T>() + r * C, w.as<const T>(),
                              Moments<A>{mean.as<const A>()[r], rstd.as<const A>()[r]}, C);
                        });
  });
}

}  // namespace limpid
