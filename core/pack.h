#pragma once

#include <cuda_runtime.h>

#include "core/dtype.h"

// For kernels: values in storage and in registers.
namespace limpid::cuda {

__device__ inline float widen(float x) { return x; }
__device__ inline float widen(bf16 x) { return __uint_as_float(uint32_t(x.bits) << 16); }

// x rounded to T, to the nearest even.
template <class T>
__device__ T narrow(float x) {
  if constexpr (std::is_same_v<T, float>) {
    return x;
  } else {
    const uint32_t u = __float_as_uint(x);
    const bool nan = (u & 0x7fffffffu) > 0x7f800000u;
    T out;
    out.bits = uint16_t(nan ? (u >> 16) | 0x40u : (u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
    return out;
  }
}

// kSize values of T that one instruction moves: 16 bytes, or one value where rows do not begin on
// 16 bytes.
template <class T, int kSize>
struct alignas(sizeof(T) * kSize) Pack {
  T at[kSize];
};
template <class T>
inline constexpr int kWide = 16 / int(sizeof(T));

template <int kSize, class T>
__device__ Pack<T, kSize> load(const T* from) {
  return *reinterpret_cast<const Pack<T, kSize>*>(from);
}
template <class T, int kSize>
__device__ void store(T* to, const Pack<T, kSize>& pack) {
  *reinterpret_cast<Pack<T, kSize>*>(to) = pack;
}

// Calls f.operator()<kSize>(): kWide<T> where rows of cols elements at all of the pointers begin on
// 16 bytes, else 1.
template <class T, class F, class... Pointers>
void with_width(int64_t cols, F&& f, const Pointers*... pointers) {
  const bool wide =
      cols % kWide<T> == 0 && ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
  wide ? f.template operator()<kWide<T>>() : f.template operator()<1>();
}

}  // namespace limpid::cuda
