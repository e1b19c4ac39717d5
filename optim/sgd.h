#pragma once

#include "optim/optimizer.h"

namespace limpid {

// SGD with momentum (Sutskever et al. 2013). Moment m.
class Sgd : public Optimizer {
 public:
  Sgd(const OptimizerConfig&, Params&, Device, uint64_t seed);
  void update(Stream&, int64_t step, double lr, Tensor clip) override;
};

}  // namespace limpid
