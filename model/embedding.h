#pragma once

#include "model/context.h"
#include "parallel/param.h"

namespace limpid {

// Tokens to channels, with learned positions for a gpt.
class Embedding {
 public:
  Embedding(Params&, const ModelConfig&);

  void forward(Ctx&, Tensor y, Tensor tokens,
               int64_t first_position) const;  // (B,T) i32 -> (B,T,C)
  void backward(Ctx&, Tensor dy, Tensor tokens);
  Param& weight() { return weight_; }  // (V,C)

 private:
  double dropout_;
  Param& weight_;
  Param* positions_ = nullptr;  // (Tmax,C)
};

}  // namespace limpid
