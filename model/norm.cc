#include "model/norm.h"

#include "kernels/norm.h"

namespace limpid {

Norm::Norm(Params& params, const std::string& prefix, const ModelConfig& config)
    : centred_(config.is_gpt()),
      eps_(float(config.norm_eps)),
      weight_(params.add(prefix + ".weight", {config.width}, {.constant = 1})) {
  if (centred_) bias_ = &params.add(prefix + ".bias", {config.width}, Init{});
}

Norm::Saved Norm::save(Ctx& ctx, Shape x) const {
  const Shape rows = {x[0], x[1]};
  return {.mean = centred_ ? ctx.save_statistics(rows, "norm statistics") : Tensor{},
          .rstd = ctx.save_statistics(rows, "norm statistics")};
}

void Norm::forward(Ctx& ctx, Tensor y, Tensor x, Saved& s) const {
  s = save(ctx, x.shape);
  forward_again(ctx, y, x, s);
}

void Norm::forward_again(Ctx& ctx, Tensor y, Tensor x, const Saved& s) const {
  if (centred_)
    layernorm_forward(ctx.stream, y, s.mean, s.rstd, x, weight_.value, bias_->value, eps_);
  else
    rmsnorm_forward(ctx.stream, y, s.rstd, x, weight_.value, eps_);
}

void Norm::forward_add(Ctx& ctx, Tensor y, Tensor sum, Tensor x, Tensor branch, Saved& s) const {
  s = save(ctx, x.shape);
  if (centred_)
    add_layernorm_forward(ctx.stream, y, sum, s.mean, s.rstd, x, branch, weight_.value,
                          bias_->value, eps_);
  else
    add_rmsnorm_forward(ctx.stream, y, sum, s.rstd, x, branch, weight_.value, eps_);
}

void Norm::backward_add(Ctx& ctx, Tensor d, Tensor dy, Tensor x, const Saved& s) {
  if (centred_)
    layernorm_backward(ctx.stream, d, weight_.grad, bias_->grad, dy, d, x, weight_.value, s.mean,
                       s.rstd);
  else
    rmsnorm_backward(ctx.stream, d, weight_.grad, dy, d, x, weight_.value, s.rstd);
}

}  // namespace limpid
