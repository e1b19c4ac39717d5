#pragma once

#include "core/fields.h"
#include "kernels/activation.h"
#include "kernels/rope.h"

namespace limpid {

enum class ModelKind { gpt, llama };
enum class FloatKind { f32, bf16, f64 };

// What of a block's activations is kept for backward: all; all but norms' and activations' outputs,
// which are cheap to make again; or the block's input alone.
enum class Recompute { none, selective, full };

// The shape of a model. gpt: learned positions, LayerNorm, biases, GELU, as GPT-2 and GPT-3. llama:
// rotary positions, RMSNorm, no biases, SwiGLU, grouped-query attention.
struct ModelConfig {
  ModelKind kind = ModelKind::llama;
  int64_t layers = 6;
  int64_t width = 384;     // C
  int64_t heads = 6;       // H
  int64_t kv_heads = 0;    // K; 0 means heads
  int64_t head_width = 0;  // D; 0 means width / heads
  int64_t hidden = 0;    // F; 0 means 4 * width (gpt) or 8/3 * width up to a multiple of 64 (llama)
  int64_t vocab = 8192;  // V
  int64_t context = 256;  // T
  bool tied_head = true;  // the output head is the embedding
  bool qk_norm = false;
  Gelu gelu = Gelu::tanh;
  double norm_eps = 1e-5;
  double rope_theta = 10000;
  RopeScaling rope_scaling;
  double dropout = 0;
  double init_deviation = 0.02;
  FloatKind dtype = FloatKind::f32;
  int64_t head_rows = 1024;  // rows of logits that exist at a time

  void fields(Fields&);
  void check(Problems&) const;

  // The values that zeros above stand for.
  bool is_gpt() const { return kind == ModelKind::gpt; }
  int64_t key_heads() const { return kv_heads ? kv_heads : heads; }
  int64_t head_dim() const { return head_width ? head_width : width / heads; }
  int64_t hidden_width() const;
  int64_t packed_heads() const { return heads + 2 * key_heads(); }  // H + 2K
  DType float_type() const;
};

}  // namespace limpid
