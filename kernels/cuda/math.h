#pragma once

#include "core/pack.h"

// Transcendental functions for values that are stored as T: for f32 to an ulp or two, for bf16 by
// the fewest instructions.
namespace limpid::cuda {

template <class T>
__device__ float exp(float x) {
  if constexpr (std::is_same_v<T, float>)
    return expf(x);
  else
    return __expf(x);
}

// 1 / (1 + e^-x)
template <class T>
__device__ float sigmoid(float x) {
  if constexpr (std::is_same_v<T, float>)
    return 1 / (1 + expf(-x));
  else
    return __fdividef(1, 1 + __expf(-x));
}

}  // namespace limpid::cuda
