#include "kernels/cuda/rows.h"

namespace limpid::cuda {
namespace {

constexpr int kColumns = 32, kSlices = 8;

// A block has 32 columns; each of its eight warps adds up every eighth partial sum.
__global__ void __launch_bounds__(kColumns* kSlices)
    add_partials_kernel(float* sums, const float* partials, int64_t groups, int64_t stride,
                        int64_t columns) {
  const int lane = int(threadIdx.x) % kColumns, slice = int(threadIdx.x) / kColumns;
  const int64_t column = int64_t(blockIdx.x) * kColumns + lane;
  float sum = 0;
  if (column < columns)
    for (int64_t g = slice; g < groups; g += kSlices) sum += partials[g * stride + column];
  const Shared<float> slices = shared_memory<float>();
  slices[slice * kColumns + lane] = sum;
  __syncthreads();
  if (slice != 0 || column >= columns) return;
  float total = sums[column];
  for (int i = 0; i < kSlices; ++i) total += slices[i * kColumns + lane];
  sums[column] = total;
}

}  // namespace

void add_partials(Stream& stream, float* sums, const float* partials, int64_t groups,
                  int64_t stride, int64_t columns) {
  launch(stream,
         {"add_partials", (columns + kColumns - 1) / kColumns, kColumns * kSlices,
          kColumns * kSlices * int64_t(sizeof(float))},
         add_partials_kernel, sums, partials, groups, stride, columns);
}

}  // namespace limpid::cuda
