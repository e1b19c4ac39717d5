#include "optim/adamw.h"

#include "optim/adam_scalars.h"

namespace limpid {

AdamW::AdamW(const OptimizerConfig& config, Params& params, Device device)
    : Optimizer(config, params, device, 2) {}

void AdamW::update(Stream& stream, int64_t step, double lr, Tensor clip) {
  adamw_update(stream, tensors_, clip, adam_scalars(config_, step, lr));
}

}  // namespace limpid
