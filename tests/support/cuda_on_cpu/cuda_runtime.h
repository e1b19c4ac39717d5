#pragma once

// What limpid's kernels use of the CUDA language and its runtime, on the CPU: stands in for the
// toolkit's header of the same name where kernels are compiled for the emulator (machine.h).
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <source_location>
#include <type_traits>
#include <vector>

#include "tests/support/cuda_on_cpu/machine.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

struct dim3 : limpid::cuda_on_cpu::Dim {
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : Dim{x_, y_, z_} {}
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};

// ---- within a kernel

namespace limpid::cuda_on_cpu {

// threadIdx.x and its like: read as a number, of the running thread.
template <Dim Position::*kWhat, unsigned Dim::*kAxis>
struct Register {
  operator unsigned() const { return (here().*kWhat).*kAxis; }
};
template <Dim Position::*kWhat>
struct Registers {
  Register<kWhat, &Dim::x> x;
  Register<kWhat, &Dim::y> y;
  Register<kWhat, &Dim::z> z;
};

// What lane `source(lane)` of the warp gives.
template <class T, class Source>
T from_lane(uint32_t mask, T value, Source source, const std::source_location& where) {
  static_assert(sizeof(T) <= sizeof(LaneValue));
  LaneValue given;
  std::memcpy(given.words, &value, sizeof value);
  const LaneValue* all = exchange(mask, given, false, where);
  std::memcpy(&value, all[source(here().lane())].words, sizeof value);
  return value;
}

template <class T>
uint32_t bits_of_lanes(uint32_t mask, T predicate, const std::source_location& where) {
  LaneValue given;
  given.words[0] = predicate ? 1 : 0;
  const LaneValue* all = exchange(mask, given, false, where);
  uint32_t bits = 0;
  for (int lane = 0; lane < 32; ++lane) bits |= all[lane].words[0] << lane;
  return bits;
}

}  // namespace limpid::cuda_on_cpu

inline constexpr limpid::cuda_on_cpu::Registers<&limpid::cuda_on_cpu::Position::thread> threadIdx;
inline constexpr limpid::cuda_on_cpu::Registers<&limpid::cuda_on_cpu::Position::block> blockIdx;
inline constexpr limpid::cuda_on_cpu::Registers<&limpid::cuda_on_cpu::Position::block_dim> blockDim;
inline constexpr limpid::cuda_on_cpu::Registers<&limpid::cuda_on_cpu::Position::grid_dim> gridDim;

inline void __syncthreads(std::source_location where = std::source_location::current()) {
  limpid::cuda_on_cpu::barrier(where);
}
inline void __syncwarp(uint32_t mask = 0xffffffffu,
                       std::source_location where = std::source_location::current()) {
  limpid::cuda_on_cpu::exchange(mask, {}, true, where);
}
template <class T>
T __shfl_xor_sync(uint32_t mask, T value, int bits,
                  std::source_location where = std::source_location::current()) {
  return limpid::cuda_on_cpu::from_lane(
      mask, value, [=](int lane) { return lane ^ bits; }, where);
}
template <class T>
T __shfl_sync(uint32_t mask, T value, int source,
              std::source_location where = std::source_location::current()) {
  return limpid::cuda_on_cpu::from_lane(
      mask, value, [=](int) { return source & 31; }, where);
}
template <class T>
T __shfl_down_sync(uint32_t mask, T value, int by,
                   std::source_location where = std::source_location::current()) {
  return limpid::cuda_on_cpu::from_lane(
      mask, value, [=](int lane) { return lane + by < 32 ? lane + by : lane; }, where);
}
template <class T>
T __shfl_up_sync(uint32_t mask, T value, int by,
                 std::source_location where = std::source_location::current()) {
  return limpid::cuda_on_cpu::from_lane(
      mask, value, [=](int lane) { return lane >= by ? lane - by : lane; }, where);
}
inline uint32_t __ballot_sync(uint32_t mask, int predicate,
                              std::source_location where = std::source_location::current()) {
  return limpid::cuda_on_cpu::bits_of_lanes(mask, predicate, where);
}
inline int __any_sync(uint32_t mask, int predicate,
                      std::source_location where = std::source_location::current()) {
  return limpid::cuda_on_cpu::bits_of_lanes(mask, predicate, where) != 0;
}
inline int __all_sync(uint32_t mask, int predicate,
                      std::source_location where = std::source_location::current()) {
  return limpid::cuda_on_cpu::bits_of_lanes(mask, predicate, where) == 0xffffffffu;
}

template <class T>
uint32_t __match_any_sync(uint32_t mask, T value,
                          std::source_location where = std::source_location::current()) {
  static_assert(sizeof(T) == sizeof(uint32_t));
  limpid::cuda_on_cpu::LaneValue given;
  given.words[0] = std::bit_cast<uint32_t>(value);
  const auto* all = limpid::cuda_on_cpu::exchange(mask, given, false, where);
  uint32_t bits = 0;
  for (int lane = 0; lane < 32; ++lane)
    bits |= uint32_t(all[lane].words[0] == given.words[0]) << lane;
  return bits;
}

inline uint32_t __float_as_uint(float x) { return std::bit_cast<uint32_t>(x); }
inline float __uint_as_float(uint32_t x) { return std::bit_cast<float>(x); }
inline uint64_t __umul64hi(uint64_t a, uint64_t b) {
  return uint64_t((static_cast<unsigned __int128>(a) * b) >> 64);
}
inline uint32_t __umulhi(uint32_t a, uint32_t b) { return uint32_t((uint64_t(a) * b) >> 32); }
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline unsigned long long atomicAdd(unsigned long long* to, unsigned long long by) {
  return __atomic_fetch_add(to, by, __ATOMIC_RELAXED);
}
inline int __popc(uint32_t x) { return std::popcount(x); }
inline int __ffs(uint32_t x) { return x ? std::countr_zero(x) + 1 : 0; }

// ---- the runtime: one device, whose memory is the host's

enum cudaError_t { cudaSuccess = 0, cudaErrorMemoryAllocation = 2, cudaErrorLaunchFailure = 719 };
enum cudaMemcpyKind { cudaMemcpyDefault = 4 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum cudaStreamCaptureStatus { cudaStreamCaptureStatusNone, cudaStreamCaptureStatusActive };
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal = 1 };
inline constexpr unsigned cudaStreamNonBlocking = 1;
inline constexpr unsigned cudaEventDisableTiming = 2;

namespace limpid::cuda_on_cpu {
using Work = std::function<cudaError_t()>;
struct Graph {
  std::vector<Work> work;
};
struct StreamState {
  std::unique_ptr<Graph> capture;  // what is given while it is there is kept, not done
};
struct EventState {};
// Does the work, or keeps it where the stream is being captured.
cudaError_t give(StreamState* stream, Work work);
cudaError_t launch(StreamState* stream, const void* kernel, Dim grid, Dim block,
                   size_t shared_bytes, std::function<void()> thread);
}  // namespace limpid::cuda_on_cpu

using cudaStream_t = limpid::cuda_on_cpu::StreamState*;
using cudaEvent_t = limpid::cuda_on_cpu::EventState*;
using cudaGraph_t = limpid::cuda_on_cpu::Graph*;
using cudaGraphExec_t = limpid::cuda_on_cpu::Graph*;
struct cudaDeviceProp {
  char name[256];
  int major, minor, multiProcessorCount;
  size_t totalGlobalMem;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
};

const char* cudaGetErrorString(cudaError_t);
cudaError_t cudaGetLastError();
cudaError_t cudaGetDeviceCount(int*);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp*, int);
cudaError_t cudaMemGetInfo(size_t* free, size_t* total);
cudaError_t cudaMalloc(void**, size_t);
cudaError_t cudaFree(void*);
cudaError_t cudaMallocHost(void**, size_t);
cudaError_t cudaFreeHost(void*);
cudaError_t cudaMemset(void*, int, size_t);
cudaError_t cudaMemsetAsync(void*, int, size_t, cudaStream_t);
cudaError_t cudaMemcpyAsync(void*, const void*, size_t, cudaMemcpyKind, cudaStream_t);
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaStreamCreateWithFlags(cudaStream_t*, unsigned);
cudaError_t cudaStreamDestroy(cudaStream_t);
cudaError_t cudaStreamSynchronize(cudaStream_t);
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus*);
cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode);
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t*);
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned = 0);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t*, unsigned);
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t);
cudaError_t cudaEventSynchronize(cudaEvent_t);
cudaError_t cudaEventDestroy(cudaEvent_t);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t*, cudaGraph_t, unsigned long long = 0);
cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t);
cudaError_t cudaGraphDestroy(cudaGraph_t);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t);

template <class... P>
cudaError_t cudaFuncSetAttribute(void (*)(P...), cudaFuncAttribute, int) {
  return cudaSuccess;
}
template <class... P, class... A>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(P...),
                               A&&... args) {
  return limpid::cuda_on_cpu::launch(config->stream, reinterpret_cast<const void*>(kernel),
                                     config->gridDim, config->blockDim, config->dynamicSmemBytes,
                                     [=] { kernel(P(args)...); });
}
