#include "model/attention.h"

#include <cmath>

#include "kernels/elementwise.h"
#include "kernels/qk_norm.h"
#include "kernels/rope.h"
#include "model/dropout.h"

namespace limpid {
namespace {

Init residual_init(const ModelConfig& config) {
  return {.deviation = config.init_deviation / std::sqrt(2.0 * double(config.layers))};
}

}  // namespace

AttentionLayer::AttentionLayer(Params& params, const std::string& prefix, const ModelConfig& config,
                               const Tensor& rope_table)
    : config_(config),
      rope_table_(rope_table),
      name_(prefix),
      qkv_(params, prefix, config.width,
           {{"q", config.heads * config.head_dim()},
            {"k", config.key_heads() * config.head_dim()},
            {"v", config.key_heads() * config.head_dim()}},
           config.is_gpt(), {.deviation = config.init_deviation}),
      out_(params, prefix, config.heads * config.head_dim(), {{"o", config.width}}, config.is_gpt(),
           residual_init(config)) {
  if (config.qk_norm) {
    q_norm_ = &params.add(prefix + ".q_norm.weight", {config.head_dim()}, {.constant = 1});
    k_norm_ = &params.add(prefix + ".k_norm.weight", {config.head_dim()}, {.constant = 1});
  }
}

Attention AttentionLayer::options(const Ctx& ctx) const {
  return {.heads = config_.heads,
          .kv_heads = config_.key_heads(),
          .scale = float(1 / std::sqrt(double(config_.head_dim()))),
          .dropout = ctx.training ? float(config_.dropout) : 0,
          .mask = Random(ctx.seed, name_ + ".probabilities", uint64_t(ctx.step)),
          .first_sample = ctx.first_sample};
}

void AttentionLayer::project(Ctx& ctx, Tensor x, int64_t position, Saved& s) const {
  const int64_t B = x.shape[0], T = x.shape[1], D = config_.head_dim();
  const int64_t turned = config_.heads + config_.key_heads();
  s.qkv = ctx.save({B, T, config_.packed_heads(), D}, "q, k, v");
  Tensor projected = s.qkv;
  if (q_norm_) {
    projected = s.raw = ctx.save(s.qkv.shape, "q, k, v before norm");
    s.rstd = ctx.save_statistics({B, T, turned}, "norm statistics");
  }
  qkv_.forward(ctx, projected.reshape({B, T, config_.packed_heads() * D}), x);
  if (q_norm_)
    qk_norm_forward(ctx.stream, s.qkv, s.rstd, s.raw, q_norm_->value, k_norm_->value, config_.heads,
                    float(config_.norm_eps));
  if (rope_table_) rope_forward(ctx.stream, s.qkv, rope_table_, turned, position);
}

Tensor AttentionLayer::forward(Ctx& ctx, Tensor x, Saved& s) const {
  const int64_t B = x.shape[0], T = x.shape[1], H = config_.heads, D = config_.head_dim();
  project(ctx, x, 0, s);
  s.o = ctx.save({B, T, H, D}, "attention");
  s.lse = ctx.save_statistics({B, H, T}, "attention statistics");
  attention_forward(ctx.stream, s.o, s.lse, s.qkv, ctx.document_start, options(ctx));
  const Tensor y = ctx.temp(x.shape, "attention output");
  out_.forward(ctx, y, s.o.reshape({B, T, H * D}));
  return drop(ctx, y, y, config_.dropout, name_ + ".output");
}

Tensor AttentionLayer::backward(Ctx& ctx, Tensor dy, Tensor x, const Saved& s) {
  const int64_t B = x.shape[0], T = x.shape[1], H = config_.heads, D = config_.head_dim();
  const int64_t turned = H + config_.key_heads();
  const Tensor da = drop_gradient(ctx, dy, config_.dropout, name_ + ".output");
  const Tensor dout = ctx.temp(s.o.shape, "gradient of attention");
  out_.backward_input(ctx, dout.reshape({B, T, H * D}), da);
  out_.backward_weight(ctx, da, s.o.reshape({B, T, H * D}));
  const Tensor dqkv = ctx.temp(s.qkv.shape, "gradient of q, k, v");
  attention_backward(ctx.stream, dqkv, dout, s.o, s.lse, s.qkv, ctx.document_start, options(ctx));
  if (rope_table_) rope_backward(ctx.stream, dqkv, rope_table_, turned, 0);
  if (q_norm_)
    qk_norm_backward(ctx.stream, dqkv, q_norm_->grad, k_norm_->grad, dqkv, s.raw, q_norm_->value,
                     k_norm_->value, s.rstd, H);
  const Tensor dprojected = dqkv.reshape({B, T, config_.packed_heads() * D});
  const Tensor dx = ctx.temp(x.shape, "gradient of a norm's output");
  qkv_.backward_input(ctx, dx, dprojected);
  qkv_.backward_weight(ctx, dprojected, x);
  return dx;
}

Tensor AttentionLayer::extend(Ctx& ctx, Tensor x, Cache& cache, int64_t position) const {
  const int64_t B = x.shape[0], T = x.shape[1], H = config_.heads, D = config_.head_dim();
  Saved s;
  project(ctx, x, position, s);
  const Tensor o = ctx.temp({B, T, H, D}, "attention");
  attention_cached(ctx.stream, o, cache.keys, cache.values, s.qkv, position, options(ctx));
  const Tensor y = ctx.temp(x.shape, "attention output");
  out_.forward(ctx, y, o.reshape({B, T, H * D}));
  return y;
}

}  // namespace limpid
