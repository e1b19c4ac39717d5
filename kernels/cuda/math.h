#pragma once

#include <numbers>

#include "kernels/cuda/ptx.h"

// Transcendental functions for values that are stored as T: for f32 to an ulp or two, for bf16 by
// the fewest instructions.
namespace limpid::cuda {

template <class T>
__device__ float exp(float x) {
  if constexpr (std::is_same_v<T, float>)
    return expf(x);
  else
    return exp2_fast(x * std::numbers::log2e_v<float>);
}

// 1 / (1 + e^-x)
template <class T>
__device__ float sigmoid(float x) {
  if constexpr (std::is_same_v<T, float>)
    return 1 / (1 + expf(-x));
  else
    return __fdividef(1, 1 + exp<T>(-x));
}

}  // namespace limpid::cuda
