#include "model/config.h"

namespace limpid {

void ModelConfig::fields(Fields& f) {
  static constexpr const char* kKinds[] = {"gpt", "llama"};
  static constexpr const char* kGelus[] = {"tanh", "exact"};
  static constexpr const char* kFloats[] = {"f32", "bf16", "f64"};
  constexpr Range kAboveZero = {1e-300, 1e300};
  f.field("kind", kind, kKinds,
          "gpt: learned positions, LayerNorm, biases, GELU; llama: RoPE, RMSNorm, SwiGLU");
  f.field("layers", layers, "transformer blocks", {1, 10000});
  f.field("width", width, "channels of the residual stream", {1, 1 << 20});
  f.field("heads", heads, "query heads", {1, 1 << 16});
  f.field("kv_heads", kv_heads, "key and value heads, a divisor of heads; 0 means as many as heads",
          kNotNegative);
  f.field("head_width", head_width, "channels of a head; 0 means width / heads", kNotNegative);
  f.field("hidden", hidden,
          "channels inside the MLP; 0 means 4 width (gpt), 8/3 width rounded up to 64 (llama)",
          kNotNegative);
  f.field("vocab", vocab, "tokens that the model knows; at least the tokenizer's", {2, 1 << 24});
  f.field("context", context, "tokens of a sequence", {1, 1 << 24});
  f.field("tied_head", tied_head, "the output head is the embedding");
  f.field("qk_norm", qk_norm, "RMSNorm of every query and key head (llama)");
  f.field("gelu", gelu, kGelus, "which GELU (gpt)");
  f.field("norm_eps", norm_eps, "added under the root of a norm", {0, 1});
  f.field("rope_theta", rope_theta, "base of the rotary wavelengths (llama)", kAboveZero);
  f.field("rope_factor", rope_scaling.factor,
          "Llama 3's stretching of long wavelengths; 1 means none", {1, 1e6});
  f.field("rope_low_freq_factor", rope_scaling.low_freq_factor, "its lower bound", kAboveZero);
  f.field("rope_high_freq_factor", rope_scaling.high_freq_factor, "its upper bound", kAboveZero);
  f.field("rope_original_context", rope_scaling.original_context, "the context before stretching",
          kPositive);
  f.field("dropout", dropout, "of embeddings, attention probabilities and branches; GPT-2 had 0.1",
          {0, 0.99});
  f.field("init_deviation", init_deviation,
          "of normal initial weights; residual projections get it / sqrt(2 layers)", kAboveZero);
  f.field("dtype", dtype, kFloats, "of weights and activations; sums are f32 or wider");
  f.field("head_rows", head_rows,
          "rows of logits (tokens) that exist at a time: less memory, or larger matmuls",
          kPositive);
}

void ModelConfig::check(Problems& p) const {
  p.require(head_width > 0 || width % heads == 0, "heads",
            "{} does not divide width = {}; set head_width, or another number", heads, width);
  p.require(kv_heads == 0 || heads % kv_heads == 0, "kv_heads", "{} does not divide heads = {}",
            kv_heads, heads);
  p.require(is_gpt() || head_dim() % 2 == 0, "head_width",
            "{} is odd, and rotary positions turn pairs of channels", head_dim());
  p.require(!is_gpt() || kv_heads == 0 || kv_heads == heads, "kv_heads",
            "a gpt has as many as heads = {}", heads);
  p.require(!is_gpt() || !qk_norm, "qk_norm", "a gpt has none; use kind = \"llama\"");
  p.require(!is_gpt() || tied_head, "tied_head", "a gpt's head is its embedding; use true");
  p.require(!is_gpt() || rope_scaling.factor == 1, "rope_factor",
            "a gpt has learned positions, no rotary ones; leave it at 1");
  p.require(rope_scaling.high_freq_factor > rope_scaling.low_freq_factor, "rope_high_freq_factor",
            "must be above rope_low_freq_factor = {}", rope_scaling.low_freq_factor);
}

int64_t ModelConfig::hidden_width() const {
  if (hidden) return hidden;
  return is_gpt() ? 4 * width : (8 * width / 3 + 63) / 64 * 64;
}

DType ModelConfig::float_type() const {
  return dtype == FloatKind::f32 ? DType::f32 : dtype == FloatKind::bf16 ? DType::bf16 : DType::f64;
}

}  // namespace limpid
