#pragma once

#include "core/launch.h"
#include "kernels/attention.h"
#include "kernels/cuda/reduce.h"
#include "kernels/dropout_mask.h"

// Flash attention on a GPU (Dao 2023, arXiv:2307.08691). A block has some rows of one head, each of
// its warps a part of them alone; the other side streams through two stages of shared memory, one
// being filled while the other is used. The kernels are written once for two ways to calculate:
// attention_tensor.h (bf16 on tensor cores) and attention_plain.h (f32, and every head dimension).
// A way says which scores of a tile (rows of the warp, columns of a chunk) a thread holds: at(i, j)
// is row(i), column(j).
namespace limpid::cuda::flash {

inline constexpr float kLog2e = 1.44269504f, kLn2 = 0.69314718f;
__device__ inline float never() { return __uint_as_float(0xff800000u); }  // -inf

// Heads of a packed tensor (B,T,N,D), from one of them on.
template <class T>
struct Heads {
  T* data = nullptr;
  int64_t sample = 0, row = 0, D = 0;  // elements from one to the next; D: of a head
  __device__ T* at(int b, int t, int h) const { return data + b * sample + t * row + h * D; }
};
template <class T>
Heads<T> heads_of(const Tensor& packed, int64_t first = 0) {
  const int64_t T_ = packed.shape[1], N = packed.shape[2], D = packed.shape[3];
  return {packed.as<T>() + first * D, T_ * N * D, N * D, D};
}

struct Sizes {
  int heads, kv_heads;  // of all samples together: B H and B K
  int H, K;
  int rows, keys;  // positions of queries and of keys
  int first;       // position of query row 0
  int D;
  float scale2;  // of scores, times log2(e)
  const int32_t* document_start;

  // The first column that a row of queries sees. Rows past the end see what the last one does.
  __device__ int start(int b, int row) const {
    return document_start ? document_start[int64_t(b) * rows + std::min(row, rows - 1)] : 0;
  }
};

struct Dropout {
  Random mask = Random(0, "");
  uint32_t threshold = 0;
  float factor = 1;         // of what is kept
  uint64_t first_head = 0;  // index of the first head, over all samples
};

// Which probabilities of a thread's scores dropout keeps: bit i * kColumnSlots + j is that of
// row(i), column(j). kTransposed: columns are queries. Four neighbours in a row of the matrix share
// the words of one call, so the last call's are remembered.
template <class Way, bool kDropout, bool kTransposed>
class Kept {
 public:
  // head: of all samples   rows, columns of the scores begin at row0, column0
  __device__ Kept(const Dropout& dropout, const Sizes& sizes, int head, int row0, int column0) {
    if constexpr (kDropout) {
      const typename Way::Place own;
      static_assert(Way::kRowSlots * kSlots <= 64);
      const uint64_t columns = uint64_t(sizes.rows);
      const uint64_t first = (dropout.first_head + uint64_t(head)) * columns * columns;
      uint64_t group = ~uint64_t(0);
      uint32_t four = 0;
#pragma unroll 1
      for (int e = 0; e < Way::kRowSlots * kSlots; ++e) {
        const int row = row0 + own.row(e / kSlots), column = column0 + own.column(e % kSlots);
        const int query = kTransposed ? column : row, key = kTransposed ? row : column;
        const uint64_t element = first + uint64_t(query) * columns + uint64_t(key);
        if (element / 4 != group) {
          group = element / 4;
          const auto words = dropout.mask.words(group);
          four = 0;
          for (int w = 0; w < 4; ++w) four |= uint32_t(words[size_t(w)] >= dropout.threshold) << w;
        }
        bits_ |= uint64_t(four >> (element % 4) & 1) << e;
      }
    }
  }
  __device__ bool operator()(int i, int j) const {
    return !kDropout || (bits_ >> (i * kSlots + j) & 1);
  }

 private:
  static constexpr int kSlots = Way::Scores::kColumnSlots;
  uint64_t bits_ = 0;
};

// A block's place: block `block` of `blocks` along the sequence, of one head. Heads come in
// sections whose keys and values fit the L2 cache together.
struct Order {
  int heads, blocks;
  int together;  // heads of a section

  int64_t total() const { return int64_t(heads) * blocks; }
  struct Place {
    int head, block;
  };
  // In a section all heads' blocks 0 come first, then all blocks 1 ...
  __device__ Place place() const {
    const int section = int(blockIdx.x) / (together * blocks);
    const int at = int(blockIdx.x) % (together * blocks);
    const int count = std::min(together, heads - section * together);
    return {section * together + at % count, at / count};
  }
};
inline Order order_of(int heads, int length, int rows_of_block, int keys, int64_t D) {
  constexpr int64_t kCacheElements = 8 << 20;
  const int64_t together = std::clamp<int64_t>(kCacheElements / (int64_t(keys) * D), 1, heads);
  return {heads, (length + rows_of_block - 1) / rows_of_block, int(together)};
}

// Scores whose query does not see their key become -inf. Rows are queries from row0 on, columns
// keys from column0 on.
template <class Way>
__device__ void hide_columns(typename Way::Scores& s, const Sizes& sizes, int b, int row0,
                             int column0) {
  const typename Way::Place own;
#pragma unroll
  for (int i = 0; i < Way::kRowSlots; ++i) {
    const int query = row0 + own.row(i);
    const int low = sizes.start(b, query) - column0, high = sizes.first + query - column0;
#pragma unroll
    for (int j = 0; j < Way::Scores::kColumnSlots; ++j)
      if (own.column(j) < low || own.column(j) > high) s.at(i, j) = never();
  }
}
// The same where rows are keys and columns queries, at the same positions.
template <class Way>
__device__ void hide_rows(typename Way::Scores& s, const Sizes& sizes, int b, int row0,
                          int column0) {
  const typename Way::Place own;
#pragma unroll
  for (int j = 0; j < Way::Scores::kColumnSlots; ++j) {
    const int query = column0 + own.column(j);
    const int low = sizes.start(b, query) - row0, high = query - row0;
#pragma unroll
    for (int i = 0; i < Way::kRowSlots; ++i)
      if (own.row(i) < low || own.row(i) > high) s.at(i, j) = never();
  }
}

}  // namespace limpid::cuda::flash
