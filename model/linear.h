#pragma once

#include <vector>

#include "model/context.h"
#include "parallel/param.h"

namespace limpid {

// y = x w^T + b. Several named weights may be one matrix (q|k|v, gate|up): each is a Param with its
// own norm and trust ratio, and they share one piece of memory.
class Linear {
 public:
  struct Part {
    const char* name;  // "q", or "" for a Linear of one part
    int64_t out;
  };
  // Declares `prefix.part.weight` (out,in) and, with bias, `prefix.part.bias` (out).
  Linear(Params&, const std::string& prefix, int64_t in, std::vector<Part>, bool bias, Init);

  void forward(Ctx&, Tensor y, Tensor x) const;           // y: (B,T,out) = , x: (B,T,in)
  void backward_input(Ctx&, Tensor dx, Tensor dy) const;  // dx: (B,T,in) = , dy: (B,T,out)
  void backward_weight(Ctx&, Tensor dy, Tensor x);        // weight.grad += , bias.grad +=

 private:
  Tensor whole(const std::vector<Param*>&, Tensor Param::*) const;

  int64_t in_;
  int64_t out_ = 0;
  std::vector<Param*> weights_, biases_;
};

}  // namespace limpid
