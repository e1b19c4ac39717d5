#pragma once

#include "optim/optimizer.h"

namespace limpid {

// You, Gitman & Ginsburg 2017 (arXiv:1708.03888): momentum with a learning rate a tensor. Moment m.
class Lars : public Optimizer {
 public:
  Lars(const OptimizerConfig&, Params&, Device, uint64_t seed);
  void update(Stream&, int64_t step, double lr, Tensor clip) override;

 private:
  std::vector<Tensor> measured_;  // p, g of each parameter
  Buffer norms_;                  // (parameters,2) f64: sum p^2, sum g^2
};

}  // namespace limpid
