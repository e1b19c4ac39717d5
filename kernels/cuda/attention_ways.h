#pragma once

#include "kernels/cuda/attention_plain.h"
#include "kernels/cuda/attention_tensor.h"

// From the tensors of a call to the kernels of flash attention.
namespace limpid::cuda::flash {

// The keys of a call are at positions from 0 to the last query's.
inline Sizes sizes_of(const Tensor& q, const Tensor& document_start, const Attention& how,
                      int64_t first) {
  require(how.scale > 0, "attention: a scale of {} has no CUDA kernels: they need one above 0",
          how.scale);
  const int64_t B = q.shape[0], N = q.shape[1];
  require(B * how.heads < (1 << 24) && first + N < (1 << 30),
          "attention: {} heads in all and {} positions are too many for the CUDA kernels",
          B * how.heads, first + N);
  return {.heads = int(B * how.heads),
          .kv_heads = int(B * how.kv_heads),
          .H = int(how.heads),
          .K = int(how.kv_heads),
          .rows = int(N),
          .keys = int(first + N),
          .first = int(first),
          .D = int(q.shape[3]),
          .scale2 = how.scale * kLog2e,
          .document_start = data_of<const int32_t>(document_start)};
}

inline Dropout dropout_of(const Attention& how) {
  return {.mask = how.mask,
          .threshold = uint32_t(double(how.dropout) * 0x1p32),
          .factor = 1 / (1 - how.dropout),
          .first_head = uint64_t(how.first_sample) * uint64_t(how.heads)};
}

// Calls f.operator()<Way>() with what calculates heads of D columns: Fast<kD> for bf16 that can be
// copied by 16 bytes, else Slow<T, kD>.
template <class T, template <int> class Fast, template <class, int> class Slow, class F,
          class... Pointers>
void with_way(int64_t D, F&& f, const Pointers*... pointers) {
  require(D <= 256, "attention: heads of {} columns are too long for the CUDA kernels: 256 at most",
          D);
  bool wide = false;
  with_width<T>(
      D, [&]<int kSize>() { wide = kSize > 1; }, pointers...);
  if constexpr (std::is_same_v<T, bf16>) {
    if (wide && D <= 32) return f.template operator()<Fast<32>>();
    if (wide && D <= 64) return f.template operator()<Fast<64>>();
    if (wide && D <= 96) return f.template operator()<Fast<96>>();
    if (wide && D <= 128) return f.template operator()<Fast<128>>();
    if (wide) return f.template operator()<Fast<256>>();
  }
  if (D <= 64) return f.template operator()<Slow<T, 64>>();
  if (D <= 128) return f.template operator()<Slow<T, 128>>();
  f.template operator()<Slow<T, 256>>();
}

}  // namespace limpid::cuda::flash
