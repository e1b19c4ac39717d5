#include "optim/lamb.h"

#include "optim/adam_scalars.h"

namespace limpid {

Lamb::Lamb(const OptimizerConfig& config, Params& params, Device device, uint64_t seed)
    : Optimizer(config, params, device, seed, 2),
      norms_(device, int64_t(2 * params.size() * sizeof(double)), "norms") {}

void Lamb::update(Stream& stream, int64_t step, double lr, Tensor clip) {
  const Tensor norms = norms_.tensor(0, {int64_t(tensors_.size()), 2}, DType::f64);
  const Adam scalars = adam_scalars(config_, step, lr);
  lamb_moments(stream, norms, tensors_, clip, scalars);
  lamb_update(stream, tensors_, norms, scalars);
}

}  // namespace limpid
