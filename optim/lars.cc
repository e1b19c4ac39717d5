#include "optim/lars.h"

#include "kernels/reduce.h"

namespace limpid {

Lars::Lars(const OptimizerConfig& config, Params& params, Device device, uint64_t seed)
    : Optimizer(config, params, device, seed, 1),
      norms_(device, int64_t(2 * params.size() * sizeof(double)), "norms") {
  for (const UpdateTensors& tensors : tensors_) {
    measured_.push_back(tensors.p);
    measured_.push_back(tensors.g);
  }
}

void Lars::update(Stream& stream, int64_t step, double lr, Tensor clip) {
  const Tensor norms = norms_.tensor(0, {int64_t(tensors_.size()), 2}, DType::f64);
  sum_squares(stream, norms, measured_);
  lars_update(stream, tensors_, clip, norms,
              {.lr = float(lr),
               .momentum = float(config_.momentum),
               .trust = float(config_.trust),
               .eps = float(config_.eps),
               .step = uint64_t(step)});
}

}  // namespace limpid
