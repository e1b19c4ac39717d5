#include "optim/sgd.h"

namespace limpid {

Sgd::Sgd(const OptimizerConfig& config, Params& params, Device device, uint64_t seed)
    : Optimizer(config, params, device, seed, 1) {}

void Sgd::update(Stream& stream, int64_t step, double lr, Tensor clip) {
  sgd_update(stream, tensors_, clip,
             {.lr = float(lr),
              .momentum = float(config_.momentum),
              .nesterov = config_.nesterov,
              .step = uint64_t(step)});
}

}  // namespace limpid
