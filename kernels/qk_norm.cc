#include "kernels/qk_norm.h"

#include "kernels/check.h"
#include "kernels/rmsnorm_row.h"
#include "kernels/split.h"

namespace limpid {
namespace {

// The heads of one token: `queries`, then `keys`, then the values, each D wide.
struct Heads {
  int64_t tokens, all, queries, keys, D;
};

Heads check(Tensor y, Tensor x, Tensor wq, Tensor wk, Tensor rstd, int64_t heads) {
  require_like(y, x, "y", "x");
  require(x.shape.rank() == 4, "x is {}, need (B,T,H+2K,D)", x.shape);
  const int64_t all = x.shape[2], D = x.shape[3], keys = (all - heads) / 2;
  require(heads > 0 && keys > 0 && heads + 2 * keys == all,
          "{} heads in all cannot be {} for queries and the rest for keys and values", all, heads);
  require_vector(wq, x.dtype, D, "wq");
  require_vector(wk, x.dtype, D, "wk");
  const int64_t tokens = x.shape[0] * x.shape[1];
  require_vector(rstd, accum_dtype(x.dtype), tokens * (heads + keys), "rstd");
  return {tokens, all, heads, keys, D};
}

}  // namespace

void qk_norm_forward(Stream& stream, Tensor y, Tensor rstd, Tensor x, Tensor wq, Tensor wk,
                     int64_t heads, float eps) {
  const Heads n = check(y, x, wq, wk, rstd, heads);
  if (stream.device == Device::cuda)
    return cuda::qk_norm_forward(stream, y, rstd, x, wq, wk, heads, eps);
  with_dtype(x.dtype, [&]<class T>() {
    using A = Accum<T>;
    for_rows(n.tokens, n.all * n.D, [=](int64_t t) {
      const T* from = x.as<const T>() + t * n.all * n.D;
      T* to = y.as<T>() + t * n.all * n.D;
      A* saved = rstd.as<A>() + t * (n.queries + n.keys);
      int64_t h = 0;
      for (; h < n.queries + n.keys; ++h) {
        const T* w = (h < n.queries ? wq : wk).as<const T>();
        saved[h] = rmsnorm_row(to + h * n.D, from + h * n.D, w, n.D, A(eps));
      }
      std::copy(from + h * n.D, from + n.all * n.D, to + h * n.D);
    });
  });
}

void qk_norm_backward(Stream& stream, Tensor dx, Tensor dwq, Tensor dwk, Tensor dy, Tensor x,
                      Tensor wq, Tensor wk, Tensor rstd, int64_t heads) {
  const Heads n = check(dx, x, wq, wk, rstd, heads);
  require_like(dy, x, "dy", "x");
  require_vector(dwq, accum_dtype(x.dtype), n.D, "dwq");
  require_vector(dwk, accum_dtype(x.dtype), n.D, "dwk");
  if (stream.device == Device::cuda)
    return cuda::qk_norm_backward(stream, dx, dwq, dwk, dy, x, wq, wk, rstd, heads);
  with_dtype(x.dtype, [&]<class T>() {
    using A = Accum<T>;
    const std::array<A*, 2> dw = {dwq.as<A>(), dwk.as<A>()};
    sum_over_rows<A, 2>(dw, n.tokens, n.D, [=](int64_t t, std::array<A*, 2> parts) {
      const int64_t at = t * n.all * n.D;
      T* to = dx.as<T>() + at;
      const T *grad = dy.as<const T>() + at, *from = x.as<const T>() + at;
      const A* saved = rstd.as<const A>() + t * (n.queries + n.keys);
      int64_t h = 0;
      for (; h < n.queries + n.keys; ++h) {
        const bool key = h >= n.queries;
        rmsnorm_backward_row<false, T>(to + h * n.D, parts[key], grad + h * n.D, nullptr,
                                       from + h * n.D, (key ? wk : wq).as<const T>(), saved[h],
                                       n.D);
      }
      if (to != grad) std::copy(grad + h * n.D, grad + n.all * n.D, to + h * n.D);
    });
  });
}

}  // namespace limpid
