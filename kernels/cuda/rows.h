#pragma once

#include "core/launch.h"
#include "kernels/cuda/reduce.h"

// Kernels that work row by row: a group of kThreads threads has one row of C columns at a time, its
// values in registers, kPacks packs of kSize a thread.
namespace limpid::cuda {

template <class T, int kSize_, int kThreads_, int kPacks_>
struct RowShape {
  using Type = T;
  static constexpr int kSize = kSize_, kThreads = kThreads_, kPacks = kPacks_;
  static constexpr int kBlock = kThreads < 128 ? 128 : kThreads;  // threads of a block
  static constexpr int kGroups = kBlock / kThreads;               // rows of a block at a time
};

// Calls f.operator()<RowShape>() with the smallest shape that holds C columns; the pointers are
// those of the rows.
template <class T, class F, class... Pointers>
void with_row_shape(int64_t C, F&& f, const Pointers*... pointers) {
  with_width<T>(
      C,
      [&]<int kSize>() {
        constexpr int64_t kLongest = kSize > 1 ? 8192 : 4096;
        require(C <= kLongest, "rows of {} columns are too long for the CUDA kernels: {} at most",
                C, kLongest);
        if (C <= 32 * 4 * kSize) return f.template operator()<RowShape<T, kSize, 32, 4>>();
        if constexpr (kSize == 1) {
          f.template operator()<RowShape<T, 1, 1024, 4>>();
        } else {
          if (C <= 256 * 4 * kSize) return f.template operator()<RowShape<T, kSize, 256, 4>>();
          if constexpr (256 * 4 * kSize < kLongest)
            f.template operator()<RowShape<T, kSize, 512, kLongest / 512 / kSize>>();
        }
      },
      pointers...);
}

// Where the running thread stands: its group among all groups, and itself in the group.
template <class Row>
struct RowPlace {
  int64_t group = int64_t(blockIdx.x) * Row::kGroups + int(threadIdx.x) / Row::kThreads;
  int64_t groups = int64_t(gridDim.x) * Row::kGroups;
  int thread = int(threadIdx.x) % Row::kThreads;

  // First column of the thread's pack p.
  __device__ int64_t column(int p) const {
    return (int64_t(p) * Row::kThreads + thread) * Row::kSize;
  }
};

// Values of a row that one thread holds; zeros beyond its end.
template <class Row>
struct RowValues {
  float at[Row::kPacks][Row::kSize] = {};
};

// f(p, i, column) for all values of a thread.
template <class Row, class F>
__device__ void for_values(const RowPlace<Row>& place, int64_t C, F f) {
#pragma unroll
  for (int p = 0; p < Row::kPacks; ++p)
    if (place.column(p) < C) {
#pragma unroll
      for (int i = 0; i < Row::kSize; ++i) f(p, i);
    }
}

template <class Row, class T>
__device__ RowValues<Row> load_row(const RowPlace<Row>& place, const T* row, int64_t C) {
  RowValues<Row> out;
#pragma unroll
  for (int p = 0; p < Row::kPacks; ++p)
    if (place.column(p) < C) {
      const auto pack = load<Row::kSize>(row + place.column(p));
#pragma unroll
      for (int i = 0; i < Row::kSize; ++i) out.at[p][i] = widen(pack.at[i]);
    }
  return out;
}

// Stores f(p, i), rounded to T, and what it was rounded to is returned.
template <class Row, class T, class F>
__device__ RowValues<Row> store_row(const RowPlace<Row>& place, T* row, int64_t C, F f) {
  RowValues<Row> out;
#pragma unroll
  for (int p = 0; p < Row::kPacks; ++p)
    if (place.column(p) < C) {
      Pack<T, Row::kSize> pack;
#pragma unroll
      for (int i = 0; i < Row::kSize; ++i) {
        pack.at[i] = narrow<T>(f(p, i));
        out.at[p][i] = widen(pack.at[i]);
      }
      store(row + place.column(p), pack);
    }
  return out;
}

// Bytes of shared memory that row_sum() needs.
template <class Row>
inline constexpr int64_t kRowScratch = Row::kThreads == kWarp ? 0 : 2 * Row::kThreads / kWarp * 4;

// The sum over the threads of a group; all of them get it. `turn` is 0 and 1 by turns, so that no
// barrier is needed between two sums.
template <class Row>
__device__ float row_sum(float x, int turn) {
  if constexpr (Row::kThreads == kWarp)
    return warp_sum(x);
  else
    return block_sum<Row::kThreads>(
        x, shared_memory<float>(turn % 2 * (Row::kThreads / kWarp) * int(sizeof(float))));
}

// Gradients of weights: groups add up rows in registers, then write partial sums, which
// add_partials() adds to the gradient group by group.

// Sums of a weight's gradient that a thread keeps over all of its rows go to row `group` of
// partials (groups,C).
template <class Row>
__device__ void store_partials(const RowPlace<Row>& place, float* partials, int64_t C,
                               const RowValues<Row>& sums) {
  for_values(place, C, [&](int p, int i) {
    partials[place.group * C + place.column(p) + i] = sums.at[p][i];
  });
}

// How many groups share the rows, and so how many partial sums there are of each column.
template <class Row>
int64_t groups_for(Stream& stream, int64_t rows) {
  const int64_t blocks = std::min<int64_t>((rows + Row::kGroups - 1) / Row::kGroups,
                                           int64_t(stream.queue().multiprocessors()) * 4);
  return blocks * Row::kGroups;
}

// sums[c] += the sum over g of partials[g * stride + c], in the order of g by eights, for
// c < columns.
void add_partials(Stream&, float* sums, const float* partials, int64_t groups, int64_t stride,
                  int64_t columns);

}  // namespace limpid::cuda
