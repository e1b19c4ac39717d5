#pragma once

#include "core/stream.h"
#include "core/tensor.h"

namespace limpid {

enum class Gelu { tanh, exact };

// y = x * Phi(x), exact by erf or by the tanh approximation (Hendrycks & Gimpel 2016,
// arXiv:1606.08415).   x, y: any, equal.
void gelu_forward(Stream&, Tensor y, Tensor x, Gelu);
// dx = (may be dy itself).
void gelu_backward(Stream&, Tensor dx, Tensor dy, Tensor x, Gelu);

// y = silu(gate) * up (Shazeer 2020, arXiv:2002.05202).   x: (B,T,2F) packed gate|up   y: (B,T,F)
void swiglu_forward(Stream&, Tensor y, Tensor x);
// dx: (B,T,2F) = (may be x itself).   dy: (B,T,F)
void swiglu_backward(Stream&, Tensor dx, Tensor dy, Tensor x);

// The same on a GPU (core/cuda.h says why they are weak), after the checks of those above.
namespace cuda {
[[gnu::weak]] void gelu_forward(Stream&, Tensor y, Tensor x, Gelu);
[[gnu::weak]] void gelu_backward(Stream&, Tensor dx, Tensor dy, Tensor x, Gelu);
[[gnu::weak]] void swiglu_forward(Stream&, Tensor y, Tensor x);
[[gnu::weak]] void swiglu_backward(Stream&, Tensor dx, Tensor dy, Tensor x);
}  // namespace cuda

}  // namespace limpid
