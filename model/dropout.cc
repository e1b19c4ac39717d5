#include "model/dropout.h"

#include "kernels/elementwise.h"

namespace limpid {

Tensor drop(Ctx& ctx, Tensor y, Tensor x, double p, const std::string& place) {
  if (!ctx.training || p == 0) return x;
  const int64_t sample_elements = x.numel() / x.shape[0];
  dropout(ctx.stream, y, x, float(p), Random(ctx.seed, place, uint64_t(ctx.step)),
          ctx.first_sample * sample_elements);
  return y;
}

Tensor drop_gradient(Ctx& ctx, Tensor dy, double p, const std::string& place) {
  if (!ctx.training || p == 0) return dy;
  return drop(ctx, ctx.temp(dy.shape, "gradient before dropout"), dy, p, place);
}

}  // namespace limpid
