#pragma once

#include "optim/optimizer.h"

namespace limpid {

// Loshchilov & Hutter 2019 (arXiv:1711.05101). Moments m, v.
class AdamW : public Optimizer {
 public:
  AdamW(const OptimizerConfig&, Params&, Device, uint64_t seed);
  void update(Stream&, int64_t step, double lr, Tensor clip) override;
};

}  // namespace limpid
