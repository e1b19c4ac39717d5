#include "optim/lars.h"

#include "kernels/reduce.h"
#include "kernels/update.h"

namespace limpid {

Lars::Lars(const OptimizerConfig& config, Params& params, Device device)
    : Optimizer(config, params, device, {"m"}), norms_(device, 2 * sizeof(double), "norms") {}

void Lars::update(Stream& stream, int64_t, double lr, Tensor clip) {
  const Tensor norms = norms_.tensor(0, {2}, DType::f64);
  for (const Slot& slot : slots_) {
    sum_squares(stream, norms.slice(0, 1), slot.master);
    sum_squares(stream, norms.slice(1, 2), slot.param->grad);
    lars_update(stream, slot.master, slot.copy, slot.moments[0], slot.param->grad, clip, norms,
                slot.adapt,
                {.lr = float(lr),
                 .momentum = float(config_.momentum),
                 .decay = float(slot.decay),
                 .trust = float(config_.trust),
                 .eps = float(config_.eps)});
  }
}

}  // namespace limpid
