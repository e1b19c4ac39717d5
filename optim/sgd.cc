#include "optim/sgd.h"

namespace limpid {

Sgd::Sgd(const OptimizerConfig& config, Params& params, Device device)
    : Optimizer(config, params, device, 1) {}

void Sgd::update(Stream& stream, int64_t, double lr, Tensor clip) {
  sgd_update(stream, tensors_, clip,
             {.lr = float(lr), .momentum = float(config_.momentum), .nesterov = config_.nesterov});
}

}  // namespace limpid
