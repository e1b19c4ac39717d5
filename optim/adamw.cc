#include "optim/adamw.h"

#include "optim/adam_scalars.h"

namespace limpid {

AdamW::AdamW(const OptimizerConfig& config, Params& params, Device device)
    : Optimizer(config, params, device, {"m", "v"}) {}

void AdamW::update(Stream& stream, int64_t step, double lr, Tensor clip) {
  for (const Slot& slot : slots_)
    adamw_update(stream, slot.master, slot.copy, slot.moments[0], slot.moments[1], slot.param->grad,
                 clip, adam_scalars(config_, slot, step, lr));
}

}  // namespace limpid
