#pragma once

#include "kernels/cuda/attention.h"

namespace limpid::cuda::flash {

// f32 by plain multiplication, for any D up to kD: a warp has kRows_ rows, lane l column l of their
// scores and every 32nd column from l on of their sums. Tiles in shared memory are f32, (rows,kD)
// with four columns more between rows, which keeps 16-byte reads of 32 rows apart.
template <class T, int kD_, int kRows_, int kWarps_>
struct Plain {
  using Type = T;
  static constexpr int kD = kD_;
  static constexpr int kWarps = kWarps_;
  static constexpr int kThreads = kWarps * kWarp;
  static constexpr int kBlocks = 1;
  static constexpr int kRows = kRows_;
  static constexpr int kTileColumns = kWarp, kChunk = kWarp;
  static constexpr int kRowSlots = kRows;
  static constexpr int kScratchBytes = kWarps * kRows * kWarp * 4;
  static constexpr int tile_bytes(int rows) { return rows * kStride * 4; }

  __device__ static int lane() { return int(threadIdx.x) % kWarp; }
  struct Place {
    __device__ int row(int i) const { return i; }
    __device__ int column(int) const { return lane(); }
  };
  __device__ static float exp2(float x) { return exp2f(x); }
  template <class Op>
  __device__ static float row_reduce(float x, Op op) {
    return warp_reduce(x, op);
  }

  struct Scores {
    static constexpr int kColumnSlots = 1;
    float value[kRows] = {};
    __device__ float& at(int i, int) { return value[i]; }
  };
  struct Sums {
    float value[kRows][kD / kWarp] = {};
    __device__ void scale_row(int i, float factor) {
#pragma unroll
      for (int n = 0; n < kD / kWarp; ++n) value[i][n] *= factor;
    }
  };

  template <int rows>
  __device__ static void copy(int tile, const T* from, int64_t stride, int valid, int D) {
    const Shared<float> to = shared_memory<float>(tile);
    for (int i = int(threadIdx.x); i < rows * kD; i += kThreads) {
      const int r = i / kD, c = i % kD;
      to[r * kStride + c] = r < valid && c < D ? widen(from[r * stride + c]) : 0.0f;
    }
  }

  __device__ static void add_dots(Scores& s, int a, int a_row, int b, int b_row, int D) {
    const Shared<float> left = shared_memory<float>(a) + a_row * kStride;
    const Shared<float> right = shared_memory<float>(b) + (b_row + lane()) * kStride;
    for (int d = 0; d < D; d += 4) {
      const Pack<float, 4> y = right.template load<4>(d);
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const Pack<float, 4> x = left.template load<4>(i * kStride + d);
#pragma unroll
        for (int k = 0; k < 4; ++k) s.value[i] += x.at[k] * y.at[k];
      }
    }
  }

  // By way of `scratch`, where the warp's scores are seen by all its lanes.
  __device__ static void add_products(Sums& sums, Scores& s, int b, int b_row, int scratch) {
    const int warp = int(threadIdx.x) / kWarp;
    const Shared<float> scores = shared_memory<float>(scratch) + warp * kRows * kWarp;
    const Shared<float> right = shared_memory<float>(b) + (b_row * kStride + lane());
    __syncwarp();
#pragma unroll
    for (int i = 0; i < kRows; ++i) scores[i * kWarp + lane()] = s.value[i];
    __syncwarp();
    for (int c = 0; c < kChunk; c += 4) {
      Pack<float, 4> x[kRows];
#pragma unroll
      for (int i = 0; i < kRows; ++i) x[i] = scores.template load<4>(i * kWarp + c);
#pragma unroll
      for (int k = 0; k < 4; ++k)
#pragma unroll
        for (int n = 0; n < kD / kWarp; ++n) {
          const float y = right[(c + k) * kStride + n * kWarp];
#pragma unroll
          for (int i = 0; i < kRows; ++i) sums.value[i][n] += x[i].at[k] * y;
        }
    }
  }

  __device__ static void put(const Sums& sums, int, int, T* to, int64_t stride, int valid, int D) {
#pragma unroll
    for (int i = 0; i < kRows; ++i)
#pragma unroll
      for (int n = 0; n < kD / kWarp; ++n) {
        const int d = n * kWarp + lane();
        if (i < valid && d < D) to[i * stride + d] = narrow<T>(sums.value[i][n]);
      }
  }

 private:
  static constexpr int kStride = kD + 4;
};

}  // namespace limpid::cuda::flash
