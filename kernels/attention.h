#pragma once

#include "core/random.h"
#include "core/stream.h"
#include "core/tensor.h"

namespace limpid {

struct Attention {
  int64_t heads = 1;
  int64_t kv_heads = 1;  // divides heads; kv head j serves query heads j * heads / kv_heads ...
  float scale = 1;       // usually 1 / sqrt(D)
  // Dropout of probabilities. The mask of (sample, head, row, column) is a function of these alone:
  // element
  // ((first_sample + b) * heads + h) * T * T + row * T + column of `mask`.
  float dropout = 0;
  Random mask = Random(0, "");
  int64_t first_sample = 0;
};

// Causal attention, blocked so that the T x T matrix never exists (Dao et al. 2022,
// arXiv:2205.14135). qkv: (B,T,H+2K,D) packed q|k|v   o: (B,T,H,D)   lse: (B,H,T) log of the sum of
// exponents, in the accumulator's dtype, kept for backward.   document_start: (B,T) i32, the first
// column that row t sees (the beginning of its document; never falls with t), or empty for 0.
void attention_forward(Stream&, Tensor o, Tensor lse, Tensor qkv, Tensor document_start,
                       const Attention&);
// dqkv = (not qkv).   dout: (B,T,H,D)
void attention_backward(Stream&, Tensor dqkv, Tensor dout, Tensor o, Tensor lse, Tensor qkv,
                        Tensor document_start, const Attention&);

// New positions against all before them: k and v of qkv are put into the caches at `position`, then
// row t of q attends to cache rows [0, position + t].   qkv: (B,N,H+2K,D)   o: (B,N,H,D)   keys,
// values: (B,Tmax,K,D). No dropout.
void attention_cached(Stream&, Tensor o, Tensor keys, Tensor values, Tensor qkv, int64_t position,
                      const Attention&);

// The same on a GPU (core/cuda.h says why they are weak), after the checks of those above.
namespace cuda {
[[gnu::weak]] void attention_forward(Stream&, Tensor o, Tensor lse, Tensor qkv,
                                     Tensor document_start, const Attention&);
[[gnu::weak]] void attention_backward(Stream&, Tensor dqkv, Tensor dout, Tensor o, Tensor lse,
                                      Tensor qkv, Tensor document_start, const Attention&);
[[gnu::weak]] void attention_cached(Stream&, Tensor o, Tensor keys, Tensor values, Tensor qkv,
                                    int64_t position, const Attention&);
}  // namespace cuda

}  // namespace limpid
