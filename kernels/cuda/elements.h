#pragma once

#include <bit>

#include "core/launch.h"
#include "kernels/cuda/ptx.h"

// Kernels that work element by element, kSize elements a thread at a time.
namespace limpid::cuda {

template <int kSize>
struct Values {
  float at[kSize] = {};
};

// Pieces that one instruction moves.
template <class T, int kSize>
inline constexpr int kPiece = kSize < kWide<T> ? kSize : kWide<T>;

// kSize elements that begin on 16 bytes, or on as many as they have.
template <int kSize, class T>
__device__ Values<kSize> load_values(const T* from) {
  constexpr int kStep = kPiece<T, kSize>;
  Values<kSize> out;
#pragma unroll
  for (int i = 0; i < kSize; i += kStep) {
    const auto pack = load<kStep>(from + i);
#pragma unroll
    for (int j = 0; j < kStep; ++j) out.at[i + j] = widen(pack.at[j]);
  }
  return out;
}

// Rounds them to T.
template <class T, int kSize>
__device__ void store_values(T* to, const Values<kSize>& values) {
  constexpr int kStep = kPiece<T, kSize>;
#pragma unroll
  for (int i = 0; i < kSize; i += kStep) {
    if constexpr (std::is_same_v<T, bf16> && kStep % 2 == 0) {
      Pack<uint32_t, kStep / 2> pairs;
#pragma unroll
      for (int j = 0; j < kStep; j += 2)
        pairs.at[j / 2] = pack_bf16(values.at[i + j], values.at[i + j + 1]);
      store(to + i, std::bit_cast<Pack<T, kStep>>(pairs));
    } else {
      Pack<T, kStep> pack;
#pragma unroll
      for (int j = 0; j < kStep; ++j) pack.at[j] = narrow<T>(values.at[i + j]);
      store(to + i, pack);
    }
  }
}

// f of each element.
template <class F, int kSize, class... V>
__device__ Values<kSize> each(F f, const Values<kSize>& first, const V&... others) {
  Values<kSize> out;
#pragma unroll
  for (int i = 0; i < kSize; ++i) out.at[i] = f(first.at[i], others.at[i]...);
  return out;
}

inline constexpr int kElementThreads = 256;  // a block

// f(i) for i = 0, kStep ... below n, each by one thread of the grid.
template <int kStep, class F>
__device__ void for_elements(int64_t n, F f) {
  const int64_t stride = int64_t(gridDim.x) * kElementThreads * kStep;
  int64_t i = (int64_t(blockIdx.x) * kElementThreads + threadIdx.x) * kStep;
  for (; i < n; i += stride) f(i);
}

// How a kernel of for_elements<kStep>(n) starts.
inline Launch over_elements(Stream& stream, const char* name, int64_t n, int step) {
  return {name, blocks_for(stream, n / step, kElementThreads), kElementThreads};
}

template <int kSize, class T, class F, class... X>
__global__ void __launch_bounds__(kElementThreads) map_kernel(T* y, int64_t n, F f, X... x) {
  for_elements<kSize>(
      n, [&](int64_t i) { store_values(y + i, each(f, load_values<kSize>(x + i)...)); });
}

// y[i] = f(x[i]...) for i < n. y may be any of x.
template <class T, class F, class... X>
void map(Stream& stream, const char* name, T* y, int64_t n, F f, const X*... x) {
  with_width<T>(
      n,
      [&]<int kSize>() {
        launch(stream, over_elements(stream, name, n, kSize), map_kernel<kSize, T, F, const X*...>,
               y, n, f, x...);
      },
      y, x...);
}

}  // namespace limpid::cuda
