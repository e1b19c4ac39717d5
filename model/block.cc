#include "model/block.h"

#include "kernels/elementwise.h"

namespace limpid {

Block::Block(Params& params, const std::string& prefix, const ModelConfig& config,
             const Tensor& rope_table)
    : norm1_(params, prefix + ".norm1", config),
      attention_(params, prefix + ".attention", config, rope_table),
      norm2_(params, prefix + ".norm2", config),
      mlp_(params, prefix + ".mlp", config) {}

void Block::forward(Ctx& ctx, Tensor y, Tensor x, Saved& s) const {
  s.n1 = ctx.cheap(x.shape, "norm");
  norm1_.forward(ctx, s.n1, x, s.norm1);
  const Tensor a = attention_.forward(ctx, s.n1, s.attention);
  s.r = ctx.save(x.shape, "residual");
  s.n2 = ctx.cheap(x.shape, "norm");
  norm2_.forward_add(ctx, s.n2, s.r, x, a, s.norm2);
  const Tensor m = mlp_.forward(ctx, s.n2, s.mlp);
  add(ctx.stream, y, s.r, m);
}

void Block::backward(Ctx& ctx, Tensor d, Tensor x, Saved& s) {
  if (ctx.recompute == Recompute::selective) {
    s.n1 = s.n2 = ctx.temp(x.shape, "norm");  // one after the other
    norm2_.forward_again(ctx, s.n2, s.r, s.norm2);
  }
  const Tensor dn2 = mlp_.backward(ctx, d, s.n2, s.mlp);
  norm2_.backward_add(ctx, d, dn2, s.r, s.norm2);
  if (ctx.recompute == Recompute::selective) norm1_.forward_again(ctx, s.n1, x, s.norm1);
  const Tensor dn1 = attention_.backward(ctx, d, s.n1, s.attention);
  norm1_.backward_add(ctx, d, dn1, x, s.norm1);
}

void Block::extend(Ctx& ctx, Tensor y, Tensor x, AttentionLayer::Cache& cache,
                   int64_t position) const {
  Saved s;
  s.n1 = ctx.temp(x.shape, "norm");
  norm1_.forward(ctx, s.n1, x, s.norm1);
  const Tensor a = attention_.extend(ctx, s.n1, cache, position);
  s.r = ctx.temp(x.shape, "residual");
  s.n2 = ctx.temp(x.shape, "norm");
  norm2_.forward_add(ctx, s.n2, s.r, x, a, s.norm2);
  const Tensor m = mlp_.forward(ctx, s.n2, s.mlp);
  add(ctx.stream, y, s.r, m);
}

}  // namespace limpid
