#pragma once

#include "model/context.h"
#include "parallel/param.h"

namespace limpid {

// LayerNorm for a gpt, RMSNorm for a llama, over the channels of the residual stream.
class Norm {
 public:
  struct Saved {
    Tensor mean;  // (B,T), LayerNorm only
    Tensor rstd;  // (B,T)
  };
  Norm(Params&, const std::string& prefix, const ModelConfig&);

  void forward(Ctx&, Tensor y, Tensor x, Saved&) const;  // (B,T,C)
  // sum = x + branch, y = norm(sum).
  void forward_add(Ctx&, Tensor y, Tensor sum, Tensor x, Tensor branch, Saved&) const;
  // d += the gradient of the norm's input, x; the norm's weights get theirs.   d: (B,T,C), the
  // residual stream's gradient
  void backward_add(Ctx&, Tensor d, Tensor dy, Tensor x, const Saved&);
  // y once more, from x.
  void forward_again(Ctx&, Tensor y, Tensor x, const Saved&) const;

 private:
  Saved save(Ctx&, Shape x) const;

  bool centred_;
  float eps_;
  Param& weight_;
  Param* bias_ = nullptr;
};

}  // namespace limpid
