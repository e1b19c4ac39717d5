#include "model/mlp.h"

#include <cmath>

#include "kernels/activation.h"
#include "model/dropout.h"

namespace limpid {
namespace {

std::vector<Linear::Part> up_parts(const ModelConfig& config) {
  const int64_t F = config.hidden_width();
  return config.is_gpt() ? std::vector<Linear::Part>{{"up", F}}
                         : std::vector<Linear::Part>{{"gate", F}, {"up", F}};
}

}  // namespace

Mlp::Mlp(Params& params, const std::string& prefix, const ModelConfig& config)
    : config_(config),
      name_(prefix),
      up_(params, prefix, config.width, up_parts(config), config.is_gpt(),
          {.deviation = config.init_deviation}),
      down_(params, prefix, config.hidden_width(), {{"down", config.width}}, config.is_gpt(),
            {.deviation = config.init_deviation / std::sqrt(2.0 * double(config.layers))}) {}

void Mlp::activate(Ctx& ctx, Tensor g, Tensor u) const {
  if (config_.is_gpt())
    gelu_forward(ctx.stream, g, u, config_.gelu);
  else
    swiglu_forward(ctx.stream, g, u);
}

Tensor Mlp::forward(Ctx& ctx, Tensor x, Saved& s) const {
  const int64_t F = config_.hidden_width();
  s.u = ctx.save(Ctx::with_channels(x.shape, config_.is_gpt() ? F : 2 * F), "MLP");
  up_.forward(ctx, s.u, x);
  s.g = ctx.cheap(Ctx::with_channels(x.shape, F), "MLP activation");
  activate(ctx, s.g, s.u);
  const Tensor y = ctx.temp(x.shape, "MLP output");
  down_.forward(ctx, y, s.g);
  return drop(ctx, y, y, config_.dropout, name_ + ".output");
}

Tensor Mlp::backward(Ctx& ctx, Tensor dy, Tensor x, Saved& s) {
  const Tensor dm = drop_gradient(ctx, dy, config_.dropout, name_ + ".output");
  if (ctx.recompute == Recompute::selective) {
    s.g = ctx.temp(Ctx::with_channels(x.shape, config_.hidden_width()), "MLP activation");
    activate(ctx, s.g, s.u);
  }
  down_.backward_weight(ctx, dm, s.g);
  const Tensor dg = s.g;  // its values are used up
  down_.backward_input(ctx, dg, dm);
  const Tensor du = config_.is_gpt() ? dg : s.u;  // in place
  if (config_.is_gpt())
    gelu_backward(ctx.stream, du, dg, s.u, config_.gelu);
  else
    swiglu_backward(ctx.stream, du, dg, s.u);
  const Tensor dx = ctx.temp(x.shape, "gradient of a norm's output");
  up_.backward_input(ctx, dx, du);
  up_.backward_weight(ctx, du, x);
  return dx;
}

}  // namespace limpid
