#pragma once

#include "kernels/cuda/ptx.h"

// Sums and maxima over the threads of a warp and of a block, in an order that the number of
// threads fixes.
namespace limpid::cuda {

inline constexpr int kWarp = 32;

struct Plus {
  template <class A>
  __device__ A operator()(A a, A b) const {
    return a + b;
  }
};
struct Max {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

// Over the warp, or over each kLanes of it; every lane gets the result.
template <int kLanes = kWarp, class Op, class A>
__device__ A warp_reduce(A x, Op op) {
  for (int step = kLanes / 2; step > 0; step /= 2) x = op(x, __shfl_xor_sync(0xffffffffu, x, step));
  return x;
}
template <int kLanes = kWarp, class A>
__device__ A warp_sum(A x) {
  return warp_reduce<kLanes>(x, Plus());
}

// Over a block of kThreads; every thread gets the result. scratch: kThreads / 32 values, which may
// be used again after the next barrier.
template <int kThreads, class Op, class A>
__device__ A block_reduce(A x, Shared<A> scratch, Op op) {
  static_assert(kThreads % kWarp == 0 && kThreads <= kWarp * kWarp);
  constexpr int kWarps = kThreads / kWarp;
  const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp;
  x = warp_reduce(x, op);
  if constexpr (kWarps == 1) return x;
  if (lane == 0) scratch[warp] = x;
  __syncthreads();
  A total = scratch[0];
  for (int i = 1; i < kWarps; ++i) total = op(total, A(scratch[i]));
  return total;
}
template <int kThreads, class A>
__device__ A block_sum(A x, Shared<A> scratch) {
  return block_reduce<kThreads>(x, scratch, Plus());
}

}  // namespace limpid::cuda
