#include "optim/sgd.h"

#include "kernels/update.h"

namespace limpid {

Sgd::Sgd(const OptimizerConfig& config, Params& params, Device device)
    : Optimizer(config, params, device, {"m"}) {}

void Sgd::update(Stream& stream, int64_t, double lr, Tensor clip) {
  for (const Slot& slot : slots_)
    sgd_update(stream, slot.master, slot.copy, slot.moments[0], slot.param->grad, clip,
               {.lr = float(lr),
                .momentum = float(config_.momentum),
                .decay = float(slot.decay),
                .nesterov = config_.nesterov});
}

}  // namespace limpid
