#pragma once

#include "core/stream.h"
#include "core/tensor.h"

namespace limpid {

// y[b,t] = w[tokens[b,t]] + positions[first_position + t].   y: (B,T,C)   tokens: (B,T) i32   w:
// (V,C) positions: (Tmax,C), or empty for none. Throws Error where a token is outside [0,V) (on a
// GPU whoever brought the tokens there has looked), or the positions do not suffice.
void embedding_forward(Stream&, Tensor y, Tensor tokens, Tensor w, Tensor positions,
                       int64_t first_position);
// dw += , dpositions += (or empty), in the accumulator's dtype; each row sums in the order of its
// tokens, on a GPU in parts of up to 32 of them.
void embedding_backward(Stream&, Tensor dw, Tensor dpositions, Tensor dy, Tensor tokens,
                        int64_t first_position);

// The same on a GPU (core/cuda.h says why they are weak), after the checks of those above.
namespace cuda {
[[gnu::weak]] void embedding_forward(Stream&, Tensor y, Tensor tokens, Tensor w, Tensor positions,
                                     int64_t first_position);
[[gnu::weak]] void embedding_backward(Stream&, Tensor dw, Tensor dpositions, Tensor dy,
                                      Tensor tokens, int64_t first_position);
}  // namespace cuda

}  // namespace limpid
