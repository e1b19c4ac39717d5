#pragma once

#include <cmath>

#include "kernels/update.h"
#include "optim/optimizer.h"

namespace limpid {

// What AdamW and LAMB tell their kernels about one step (from 1).
inline Adam adam_scalars(const OptimizerConfig& config, int64_t step, double lr) {
  return {.lr = float(lr),
          .beta1 = float(config.beta1),
          .beta2 = float(config.beta2),
          .eps = float(config.eps),
          .correction1 = float(1 - std::pow(config.beta1, double(step))),
          .correction2 = float(1 - std::pow(config.beta2, double(step))),
          .step = uint64_t(step)};
}

}  // namespace limpid
