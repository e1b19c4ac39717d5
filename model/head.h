#pragma once

#include "model/context.h"
#include "parallel/param.h"

namespace limpid {

// Channels to logits, and the loss over them. Logits exist for head_rows tokens at a time.
class Head {
 public:
  // weight (V,C) is the embedding's where the head is tied.
  Head(const ModelConfig&, Param& weight);

  void logits(Ctx&, Tensor logits, Tensor x) const;  // (R,V) = , x: (R,C)
  void loss(Ctx&, Tensor losses, Tensor x,
            Tensor targets) const;  // losses: (B,T) nats = , x: (B,T,C), targets: (B,T) i32
  // The same, and dx = scale * the gradient of the sum of losses; the weight gets its own. dx may
  // not be x.
  void loss_backward(Ctx&, Tensor losses, Tensor dx, Tensor x, Tensor targets, float scale);

 private:
  int64_t rows_at_a_time_;
  Param& weight_;
};

}  // namespace limpid
