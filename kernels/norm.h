#pragma once

#include "core/stream.h"
#include "core/tensor.h"

namespace limpid {

// y = w * x / rms(x), rms over the last dim with eps under the root (Zhang & Sennrich 2019,
// arXiv:1910.07467). x, y: (B,T,C)   w: (C)   rstd: (B,T) in the accumulator's dtype, kept for
// backward.   Throws Error on shape mismatch.
void rmsnorm_forward(Stream&, Tensor y, Tensor rstd, Tensor x, Tensor w, float eps);
// sum = x + branch, y = rmsnorm(sum): a residual stream and its next norm in one pass. sum may be x
// itself.
void add_rmsnorm_forward(Stream&, Tensor y, Tensor sum, Tensor rstd, Tensor x, Tensor branch,
                         Tensor w, float eps);
// dx = dresidual + the gradient through the norm, dw += . dresidual (B,T,C) may be dx itself, or
// empty for none. dw is in the accumulator's dtype.
void rmsnorm_backward(Stream&, Tensor dx, Tensor dw, Tensor dy, Tensor dresidual, Tensor x,
                      Tensor w, Tensor rstd);

// y = w * (x - mean) / sqrt(var + eps) + b over the last dim (Ba, Kiros & Hinton 2016,
// arXiv:1607.06450). x, y: (B,T,C)   w, b: (C)   mean, rstd: (B,T) in the accumulator's dtype, kept
// for backward.
void layernorm_forward(Stream&, Tensor y, Tensor mean, Tensor rstd, Tensor x, Tensor w, Tensor b,
                       float eps);
void add_layernorm_forward(Stream&, Tensor y, Tensor sum, Tensor mean, Tensor rstd, Tensor x,
                           Tensor branch, Tensor w, Tensor b, float eps);
void layernorm_backward(Stream&, Tensor dx, Tensor dw, Tensor db, Tensor dy, Tensor dresidual,
                        Tensor x, Tensor w, Tensor mean, Tensor rstd);

// The same on a GPU (core/cuda.h says why they are weak), after the checks of those above.
namespace cuda {
[[gnu::weak]] void add_rmsnorm_forward(Stream&, Tensor y, Tensor sum, Tensor rstd, Tensor x,
                                       Tensor branch, Tensor w, float eps);
[[gnu::weak]] void rmsnorm_backward(Stream&, Tensor dx, Tensor dw, Tensor dy, Tensor dresidual,
                                    Tensor x, Tensor w, Tensor rstd);
[[gnu::weak]] void add_layernorm_forward(Stream&, Tensor y, Tensor sum, Tensor mean, Tensor rstd,
                                         Tensor x, Tensor branch, Tensor w, Tensor b, float eps);
[[gnu::weak]] void layernorm_backward(Stream&, Tensor dx, Tensor dw, Tensor db, Tensor dy,
                                      Tensor dresidual, Tensor x, Tensor w, Tensor mean,
                                      Tensor rstd);
}  // namespace cuda

}  // namespace limpid
