#include "core/cuda.h"
#include "kernels/cuda/cublas.h"
#include "kernels/cuda/rows.h"
#include "kernels/matmul.h"

namespace limpid::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;

// c (M,N) += bias (N), where cuBLASLt does not do it.
template <class C, class T>
__global__ void __launch_bounds__(kThreads)
    add_bias_kernel(C* c, const T* bias, int64_t count, int64_t N) {
  const int64_t stride = int64_t(gridDim.x) * kThreads;
  for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < count; i += stride)
    c[i] = narrow<C>(widen(c[i]) + widen(bias[i % N]));
}

// Sums over rows of dy (M,N) to partials (groups,N). A block has a strip of 32 packs of columns and
// every groups-th set of rows, one row a warp; its warps' sums meet in shared memory.
template <class T, int kSize>
__global__ void __launch_bounds__(kThreads)
    column_sums_kernel(float* partials, const T* dy, int64_t M, int64_t N, int64_t strips) {
  constexpr int kColumns = kWarp * kSize;
  const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp;
  const int64_t first = int64_t(blockIdx.x) % strips * kColumns, column = first + lane * kSize;
  const int64_t group = int64_t(blockIdx.x) / strips, groups = int64_t(gridDim.x) / strips;
  float sums[kSize] = {};
  if (column < N) {
#pragma unroll 4
    for (int64_t row = group * kWarps + warp; row < M; row += groups * kWarps) {
      const Pack<T, kSize> pack = load<kSize>(dy + row * N + column);
#pragma unroll
      for (int i = 0; i < kSize; ++i) sums[i] += widen(pack.at[i]);
    }
  }
  const Shared<float> slices = shared_memory<float>();  // (warps, kSize, lanes)
#pragma unroll
  for (int i = 0; i < kSize; ++i) slices[(warp * kSize + i) * kWarp + lane] = sums[i];
  __syncthreads();
  for (int at = int(threadIdx.x); at < kColumns; at += kThreads) {
    const int64_t to = first + at % kWarp * kSize + at / kWarp;
    float total = 0;
    for (int w = 0; w < kWarps; ++w) total += slices[w * kColumns + at];
    if (to < N) partials[group * N + to] = total;
  }
}

}  // namespace

void matmul(Stream& stream, Tensor c, Tensor a, Tensor b, const Matmul& how) {
  if (c.numel() == 0) return;
  bool bias_added = !how.bias;
  if (a.numel() > 0)
    bias_added = product(stream, c, a, b, how);
  else if (!how.accumulate)
    zero_bytes(stream, c.data, c.bytes());
  if (bias_added) return;
  with_gpu_dtype(c.dtype, [&]<class C>() {
    with_gpu_dtype(how.bias.dtype, [&]<class T>() {
      launch(stream, {"add_bias", blocks_for(stream, c.numel(), kThreads), kThreads},
             add_bias_kernel<C, T>, c.as<C>(), how.bias.as<const T>(), c.numel(), c.cols());
    });
  });
}

void bias_backward(Stream& stream, Tensor db, Tensor dy) {
  const int64_t M = dy.rows(), N = dy.cols();
  if (dy.numel() == 0) return;
  with_gpu_dtype(dy.dtype, [&]<class T>() {
    with_width<T>(
        N,
        [&]<int kSize>() {
          constexpr int kColumns = kWarp * kSize;
          const int64_t strips = (N + kColumns - 1) / kColumns;
          const int64_t fill = int64_t(stream.queue().multiprocessors()) * 4;
          const int64_t groups =
              std::min((M + kWarps - 1) / kWarps, std::max<int64_t>(1, fill / strips));
          auto* partials = static_cast<float*>(stream.queue().scratch(groups * N * 4));
          launch(stream, {"column_sums", strips * groups, kThreads, kWarps * kColumns * 4},
                 column_sums_kernel<T, kSize>, partials, dy.as<const T>(), M, N, strips);
          add_partials(stream, db.as<float>(), partials, groups, N, N);
        },
        dy.as<const T>());
  });
}

}  // namespace limpid::cuda
