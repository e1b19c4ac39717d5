#pragma once

#include "parallel/param.h"

namespace limpid {

// The norm of all gradients together, and the factor that brings it down to a limit. Sums run over
// each parameter's fixed blocks, then over parameters in the order of declaration.
class GradientNorm {
 public:
  GradientNorm(Params&, Device);
  // Fills factor() with min(1, limit / (norm + 1e-6)), or 1 where limit is 0 (Pascanu, Mikolov &
  // Bengio 2013). Returns the norm.
  double clip(Stream&, double limit);
  Tensor factor() const { return factor_; }  // (1) in the accumulator's dtype

 private:
  Params& params_;
  Buffer buffer_;
  Tensor squares_;  // (parameters) f64
  Tensor factor_;
};

}  // namespace limpid
