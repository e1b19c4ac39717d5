#pragma once

#include "core/stream.h"
#include "core/tensor.h"

namespace limpid {

// RMSNorm of every query and key head over its own dims, values passed through (Henry et al. 2020,
// arXiv:2010.04245, with RMSNorm as in LLaMA-like models of today). x, y: (B,T,H+2K,D) packed
// q|k|v, y not x   wq, wk: (D)   rstd: (B,T,H+K) in the accumulator's dtype, kept for backward.
void qk_norm_forward(Stream&, Tensor y, Tensor rstd, Tensor x, Tensor wq, Tensor wk, int64_t heads,
                     float eps);
// dx = (may be dy itself), dwq += , dwk += in the accumulator's dtype.
void qk_norm_backward(Stream&, Tensor dx, Tensor dwq, Tensor dwk, Tensor dy, Tensor x, Tensor wq,
                      Tensor wk, Tensor rstd, int64_t heads);

// The same on a GPU (core/cuda.h says why they are weak), after the checks of those above.
namespace cuda {
[[gnu::weak]] void qk_norm_forward(Stream&, Tensor y, Tensor rstd, Tensor x, Tensor wq, Tensor wk,
                                   int64_t heads, float eps);
[[gnu::weak]] void qk_norm_backward(Stream&, Tensor dx, Tensor dwq, Tensor dwk, Tensor dy, Tensor x,
                                    Tensor wq, Tensor wk, Tensor rstd, int64_t heads);
}  // namespace cuda

}  // namespace limpid
