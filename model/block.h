#pragma once

#include "model/attention.h"
#include "model/mlp.h"
#include "model/norm.h"

namespace limpid {

// A pre-norm transformer block: r = x + attention(norm1(x)), y = r + mlp(norm2(r)).
class Block {
 public:
  struct Saved {
    Tensor n1;  // (B,T,C) norm1(x)
    Norm::Saved norm1;
    AttentionLayer::Saved attention;
    Tensor r;   // (B,T,C) the residual stream between the sublayers
    Tensor n2;  // (B,T,C) norm2(r)
    Norm::Saved norm2;
    Mlp::Saved mlp;
  };
  Block(Params&, const std::string& prefix, const ModelConfig&, const Tensor& rope_table);

  void forward(Ctx&, Tensor y, Tensor x, Saved&) const;  // (B,T,C)
  // d: the residual stream's gradient, dy when it comes in and dx when it leaves. Uses up what is
  // saved.
  void backward(Ctx&, Tensor d, Tensor x, Saved&);
  void extend(Ctx&, Tensor y, Tensor x, AttentionLayer::Cache&, int64_t position) const;

 private:
  Norm norm1_;
  AttentionLayer attention_;
  Norm norm2_;
  Mlp mlp_;
};

}  // namespace limpid
