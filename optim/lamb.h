#pragma once

#include "optim/optimizer.h"

namespace limpid {

// You et al. 2020 (arXiv:1904.00962): AdamW's direction, each tensor scaled by |p| / |u|. Moments
// m, v.
class Lamb : public Optimizer {
 public:
  Lamb(const OptimizerConfig&, Params&, Device, uint64_t seed);
  void update(Stream&, int64_t step, double lr, Tensor clip) override;

 private:
  Buffer norms_;  // (parameters,2) f64: sum p^2, sum u^2
};

}  // namespace limpid
