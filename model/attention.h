#pragma once

#include <optional>

#include "kernels/attention.h"
#include "model/linear.h"

namespace limpid {

// The attention sublayer: q|k|v of the input in one matmul, optional norms of q and k, rotary
// positions (llama), causal attention with grouped heads, and the output projection.   H query
// heads, K key heads, D channels a head, N = H + 2K.
class AttentionLayer {
 public:
  struct Saved {
    Tensor raw;   // (B,T,N,D) before the norms of q and k, with qk_norm only
    Tensor rstd;  // (B,T,H+K), with qk_norm only
    Tensor qkv;   // (B,T,N,D) as attention sees them
    Tensor o;     // (B,T,H,D)
    Tensor lse;   // (B,H,T)
  };
  // Keys and values of the positions so far, for generation.
  struct Cache {
    Tensor keys, values;  // (B,Tmax,K,D)
  };
  // rope_table (Tmax,2,D/2) must stay valid; empty for a gpt.
  AttentionLayer(Params&, const std::string& prefix, const ModelConfig&, const Tensor& rope_table);

  Tensor forward(Ctx&, Tensor x, Saved&) const;              // (B,T,C) -> (B,T,C), in scratch
  Tensor backward(Ctx&, Tensor dy, Tensor x, const Saved&);  // (B,T,C) -> (B,T,C), in scratch
  Tensor extend(Ctx&, Tensor x, Cache&,
                int64_t position) const;  // new positions after those in the cache

 private:
  // q|k|v of x with norms and rotary positions, which begin at `position`.
  void project(Ctx&, Tensor x, int64_t position, Saved&) const;
  Attention options(const Ctx&) const;

  const ModelConfig& config_;
  const Tensor& rope_table_;
  std::string name_;
  Linear qkv_, out_;
  Param* q_norm_ = nullptr;
  Param* k_norm_ = nullptr;
};

}  // namespace limpid
