#include "model/count.h"

#include <algorithm>

#include "core/memory.h"

namespace limpid {
namespace {

// Sizes of one block's weights, as products of channels.
int64_t block_matmul_weights(const ModelConfig& c) {
  const int64_t attention = c.width * c.head_dim() * (c.packed_heads() + c.heads);
  return attention + c.width * c.hidden_width() * (c.is_gpt() ? 2 : 3);
}

int64_t block_vectors(const ModelConfig& c) {
  const int64_t norms = 2 * c.width * (c.is_gpt() ? 2 : 1) + (c.qk_norm ? 2 * c.head_dim() : 0);
  const int64_t biases = c.packed_heads() * c.head_dim() + 2 * c.width + c.hidden_width();
  return norms + (c.is_gpt() ? biases : 0);
}

// Bytes of the tensors of one micro-batch, each as the arena aligns it.
struct Pieces {
  const ModelConfig& c;
  int64_t B, T;

  int64_t of(int64_t channels) const { return aligned(B * T * channels * size_of(c.float_type())); }
  int64_t statistics(int64_t columns) const {
    return aligned(B * T * columns * size_of(accum_dtype(c.float_type())));
  }
  int64_t residual() const { return of(c.width); }
  int64_t norm() const { return statistics(1) * (c.is_gpt() ? 2 : 1); }
  int64_t qkv() const { return of(c.packed_heads() * c.head_dim()); }
  int64_t activation() const { return of(c.hidden_width()); }
  int64_t cheap() const { return 2 * residual() + activation(); }
  int64_t dropped() const { return c.dropout > 0 ? residual() : 0; }

  int64_t block_saved() const {
    const int64_t attention = qkv() * (c.qk_norm ? 2 : 1) + of(c.heads * c.head_dim()) +
                              statistics(c.heads) +
                              (c.qk_norm ? statistics(c.heads + c.key_heads()) : 0);
    const int64_t mlp = of(c.hidden_width() * (c.is_gpt() ? 1 : 2));
    return 2 * norm() + attention + residual() + mlp + cheap();
  }
  int64_t block_forward() const { return 2 * residual(); }
  int64_t block_backward() const {
    return 2 * residual() + of(c.heads * c.head_dim()) + qkv() + 2 * dropped();
  }
};

}  // namespace

int64_t matmul_weight_count(const ModelConfig& c) {
  return c.layers * block_matmul_weights(c) + c.vocab * c.width;
}

int64_t parameter_count(const ModelConfig& c) {
  const int64_t embeddings =
      c.vocab * c.width * (c.tied_head ? 1 : 2) + (c.is_gpt() ? c.context * c.width : 0);
  return embeddings + c.layers * (block_matmul_weights(c) + block_vectors(c)) +
         c.width * (c.is_gpt() ? 2 : 1);
}

double flops_per_token(const ModelConfig& c, int64_t context) {
  return 6.0 * double(matmul_weight_count(c)) +
         6.0 * double(c.layers) * double(c.heads * c.head_dim()) * double(context);
}

MemoryNeed memory_need(const ModelConfig& c, int64_t micro_batch, int64_t context,
                       Recompute recompute) {
  const Pieces p{c, micro_batch, context};
  const int64_t count = parameter_count(c);
  const int64_t head_rows = std::min(micro_batch * context, c.head_rows);
  const int64_t head = p.residual() + aligned(head_rows * c.vocab * size_of(c.float_type()));
  int64_t kept = p.block_saved(), forward = p.block_forward(), backward = p.block_backward();
  if (recompute == Recompute::selective) {
    kept -= p.cheap();
    forward += p.cheap();
    backward += p.residual() + p.activation();
  } else if (recompute == Recompute::full) {
    forward += kept;
    backward += forward;
    kept = 0;
  }
  const int64_t evaluation = 3 * p.residual() + p.block_saved() + p.block_forward();
  backward = std::max({head, backward, p.dropped()});
  return {.parameters = count * size_of(c.float_type()),
          .gradients = count * size_of(accum_dtype(c.float_type())),
          .saved = (c.layers + 2) * p.residual() + p.norm() + c.layers * kept,
          .scratch = std::max({forward, p.residual() + backward, evaluation})};
}

}  // namespace limpid
