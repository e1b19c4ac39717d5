#pragma once

#include <vector>

#include "parallel/param.h"

namespace limpid {

// The norm of all gradients together, and the factor that brings it down to a limit. Sums run over
// each parameter's fixed blocks, then over parameters in the order of declaration.
class GradientNorm {
 public:
  GradientNorm(Params&, Device);
  // Fills norm() and factor() as clip_factor() of kernels/reduce.h says; limit 0 means none. loss:
  // (1) f64, of which only whether it is finite counts.
  void clip(Stream&, Tensor loss, double limit);
  Tensor norm() const { return norm_; }      // (1) f64
  Tensor factor() const { return factor_; }  // (1) in the accumulator's dtype

 private:
  std::vector<Tensor> gradients_;
  Buffer buffer_;
  Tensor squares_;  // (parameters) f64
  Tensor norm_, factor_;
};

}  // namespace limpid
