#include "optim/lamb.h"

#include "optim/adam_scalars.h"

namespace limpid {

Lamb::Lamb(const OptimizerConfig& config, Params& params, Device device)
    : Optimizer(config, params, device, {"m", "v"}), norms_(device, 2 * sizeof(double), "norms") {}

void Lamb::update(Stream& stream, int64_t step, double lr, Tensor clip) {
  const Tensor norms = norms_.tensor(0, {2}, DType::f64);
  for (const Slot& slot : slots_) {
    const Adam scalars = adam_scalars(config_, slot, step, lr);
    lamb_moments(stream, norms, slot.master, slot.moments[0], slot.moments[1], slot.param->grad,
                 clip, scalars);
    lamb_update(stream, slot.master, slot.copy, slot.moments[0], slot.moments[1], norms, slot.adapt,
                scalars);
  }
}

}  // namespace limpid
