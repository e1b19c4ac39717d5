#pragma once

#include "model/linear.h"

namespace limpid {

// The MLP sublayer. llama: y = down(silu(gate(x)) * up(x)) (Shazeer 2020). gpt: y =
// down(gelu(up(x))).
class Mlp {
 public:
  struct Saved {
    Tensor u;  // (B,T,2F) packed gate|up, or (B,T,F)
    Tensor g;  // (B,T,F), the activation's output
  };
  Mlp(Params&, const std::string& prefix, const ModelConfig&);

  Tensor forward(Ctx&, Tensor x, Saved&) const;  // (B,T,C) -> (B,T,C), in scratch
  Tensor backward(Ctx&, Tensor dy, Tensor x,
                  Saved&);  // (B,T,C) -> (B,T,C), in scratch; uses up s.u

 private:
  void activate(Ctx&, Tensor g, Tensor u) const;

  const ModelConfig& config_;
  std::string name_;
  Linear up_, down_;
};

}  // namespace limpid
