#include "model/embedding.h"

#include "kernels/embedding.h"
#include "model/dropout.h"

namespace limpid {

Embedding::Embedding(Params& params, const ModelConfig& config)
    : dropout_(config.dropout),
      weight_(params.add("embedding.weight", {config.vocab, config.width},
                         {.deviation = config.init_deviation})) {
  if (config.is_gpt())
    positions_ = &params.add("positions.weight", {config.context, config.width},
                             {.deviation = config.init_deviation});
}

void Embedding::forward(Ctx& ctx, Tensor y, Tensor tokens, int64_t first_position) const {
  embedding_forward(ctx.stream, y, tokens, weight_.value, positions_ ? positions_->value : Tensor{},
                    first_position);
  drop(ctx, y, y, dropout_, "embedding");
}

void Embedding::backward(Ctx& ctx, Tensor dy, Tensor tokens) {
  const Tensor de = drop_gradient(ctx, dy, dropout_, "embedding");
  embedding_backward(ctx.stream, weight_.grad, positions_ ? positions_->grad : Tensor{}, de, tokens,
                     0);
}

}  // namespace limpid
