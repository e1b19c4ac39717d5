#pragma once

#include "model/config.h"

namespace limpid {

// Elements of all parameters.
int64_t parameter_count(const ModelConfig&);
// Elements of the weights that take part in matmuls: the head counts once, tied or not; lookups,
// norms and biases do not.
int64_t matmul_weight_count(const ModelConfig&);
// Floating-point operations of forward and backward a token, at context T: 6 * matmul weights +
// causal attention, 6 * layers * H * D * T (half of the full square; two matmuls forward, four
// backward). Recomputation is not counted.
double flops_per_token(const ModelConfig&, int64_t context);

// Bytes of memory of one rank, by kind.
struct MemoryNeed {
  int64_t parameters = 0;
  int64_t gradients = 0;
  int64_t saved =
      0;  // activations of one micro-batch that backward needs: the arena's high-water mark
  int64_t scratch = 0;  // what one block, or the head, needs while it runs: likewise
};
MemoryNeed memory_need(const ModelConfig&, int64_t micro_batch, int64_t context, Recompute);

}  // namespace limpid
