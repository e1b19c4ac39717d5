#pragma once

#include "core/stream.h"
#include "core/tensor.h"

namespace limpid {

// loss[r] = log sum_v exp(logits[r,v]) - logits[r,target[r]] in nats; 0 where the target is -1.
// loss: (R) in the accumulator's dtype   logits: (R,V)   targets: (R) i32 in [-1,V). Throws Error
// on a target outside (on a GPU whoever brought the targets there has looked).
void cross_entropy_forward(Stream&, Tensor loss, Tensor logits, Tensor targets);
// The same, and logits become their own gradient: scale * (softmax(logits) - onehot(target)), 0
// where the target is -1.
void cross_entropy_backward(Stream&, Tensor loss, Tensor logits, Tensor targets, float scale);

// The same on a GPU (core/cuda.h says why they are weak), after the checks of those above.
namespace cuda {
[[gnu::weak]] void cross_entropy_forward(Stream&, Tensor loss, Tensor logits, Tensor targets);
[[gnu::weak]] void cross_entropy_backward(Stream&, Tensor loss, Tensor logits, Tensor targets,
                                          float scale);
}  // namespace cuda

}  // namespace limpid
