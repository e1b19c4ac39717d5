#pragma once

#include <algorithm>
#include <type_traits>

#include "core/queue.h"
#include "core/tensor.h"

// For the CUDA backend's own sources only: the one way in which a kernel starts.
namespace limpid::cuda {

struct Launch {
  const char* name;  // for errors and profiles
  int64_t blocks;
  int threads;               // a block; a multiple of 32
  int64_t shared_bytes = 0;  // a block
};

// Starts kernel(args...) in the stream's order. Throws Error where it cannot be started.
template <class... P>
void launch(Stream& stream, const Launch& how, void (*kernel)(P...),
            std::type_identity_t<P>... args) {
  if (how.blocks == 0) return;
  constexpr int64_t kSharedOfAll = 48 << 10;  // what every kernel may have unasked
  if (how.shared_bytes > kSharedOfAll)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               int(how.shared_bytes)),
          how.name);
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(unsigned(how.blocks));
  config.blockDim = dim3(unsigned(how.threads));
  config.dynamicSmemBytes = size_t(how.shared_bytes);
  config.stream = stream.queue().stream();
  check(cudaLaunchKernelEx(&config, kernel, args...), how.name);
}

// Blocks for a loop of all threads over n pieces of work: enough to fill the device, no more.
inline int64_t blocks_for(Stream& stream, int64_t n, int threads) {
  return std::min<int64_t>((n + threads - 1) / threads,
                           int64_t(stream.queue().multiprocessors()) * (2048 / threads));
}

// Elements of a tensor that may be empty.
template <class T>
T* data_of(const Tensor& tensor) {
  return tensor ? tensor.as<T>() : nullptr;
}

// with_dtype() without f64, in which no GPU trains.
template <class F>
decltype(auto) with_gpu_dtype(DType dtype, F&& f) {
  require(dtype == DType::f32 || dtype == DType::bf16, "{} has no CUDA kernels: f32 and bf16 have",
          dtype);
  return dtype == DType::f32 ? f.template operator()<float>() : f.template operator()<bf16>();
}

}  // namespace limpid::cuda
