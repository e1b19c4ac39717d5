#include "optim/adamw.h"

#include "optim/adam_scalars.h"

namespace limpid {

AdamW::AdamW(const OptimizerConfig& config, Params& params, Device device, uint64_t seed)
    : Optimizer(config, params, device, seed, 2) {}

void AdamW::update(Stream& stream, int64_t step, double lr, Tensor clip) {
  adamw_update(stream, tensors_, clip, adam_scalars(config_, step, lr));
}

}  // namespace limpid
