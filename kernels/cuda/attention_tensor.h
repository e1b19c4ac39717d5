#pragma once

#include "kernels/cuda/attention.h"

namespace limpid::cuda::flash {

// bf16 on tensor cores: a warp has kTiles times 16 rows, its scores and sums in the registers of
// mma(). Tiles in shared memory are (rows,kD) in pieces of 16 bytes, piece c of row r at
// c ^ swizzle(r): eight rows of one piece lie in different banks.
template <int kD_, int kTiles, int kWarps_, int kTileColumns_, int kChunk_, int kBlocks_ = 1>
struct TensorCores {
  using Type = bf16;
  static constexpr int kD = kD_;                      // columns of a head, with padding
  static constexpr int kWarps = kWarps_;              // of a block
  static constexpr int kThreads = kWarps * kWarp;     // of a block
  static constexpr int kBlocks = kBlocks_;            // of a multiprocessor, at least
  static constexpr int kRows = 16 * kTiles;           // of a warp
  static constexpr int kTileColumns = kTileColumns_;  // that a stage holds
  static constexpr int kChunk = kChunk_;              // columns of scores in registers
  static constexpr int kRowSlots = 2 * kTiles;
  static constexpr int kScratchBytes = 0;
  static constexpr int tile_bytes(int rows) { return rows * kD * 2; }

  // Where the scores of a thread lie.
  struct Place {
    int lane = lane_here();
    __device__ int row(int i) const { return 16 * (i / 2) + 8 * (i % 2) + lane / 4; }
    __device__ int column(int j) const { return 8 * (j / 2) + 2 * (lane % 4) + j % 2; }
  };
  __device__ static float exp2(float x) { return exp2_fast(x); }

  // Over the threads that share a row.
  template <class Op>
  __device__ static float row_reduce(float x, Op op) {
    x = op(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return op(x, __shfl_xor_sync(0xffffffffu, x, 2));
  }

  // (kRows,kChunk)
  struct Scores {
    static constexpr int kColumnSlots = kChunk / 4;
    float value[kTiles][kChunk / 8][4] = {};
    __device__ float& at(int i, int j) { return value[i / 2][j / 2][i % 2 * 2 + j % 2]; }
  };
  // (kRows,kD)
  struct Sums {
    float value[kTiles][kD / 8][4] = {};
    __device__ void scale_row(int i, float factor) {
#pragma unroll
      for (int n = 0; n < kD / 8; ++n) {
        value[i / 2][n][i % 2 * 2] *= factor;
        value[i / 2][n][i % 2 * 2 + 1] *= factor;
      }
    }
  };

  // Begins to copy `rows` rows of a head to the tile at a byte; zeros from row `valid` and column D
  // on. All threads of the block.
  template <int rows>
  __device__ static void copy(int tile, const bf16* from, int64_t stride, int valid, int D) {
    constexpr int kRowStep = kThreads / kGroup;
    static_assert(kThreads % kGroup == 0);
    const int c0 = int(threadIdx.x) % kGroup, r0 = int(threadIdx.x) / kGroup;
    const SharedByte to = shared_byte(tile);
    const int row_step = int(stride);
#pragma unroll 1
    for (int r = r0; r < rows; r += kRowStep)
#pragma unroll
      for (int c = 0; c < kPieces; c += kGroup)
        copy_async(to + place(r, c + c0) * 2, from + (r * row_step + (c + c0) * 8),
                   r < valid && (c + c0) * 8 < D);
  }

  // s += rows of tile a times rows of tile b: (kRows,kD) (kChunk,kD)^T
  __device__ static void add_dots(Scores& s, int a, int a_row, int b, int b_row, int) {
    const int lane = lane_here();
    const SharedByte left = shared_byte(a + (a_row + lane % 16) * kRowBytes);
    const SharedByte right = shared_byte(b + (b_row + lane % 8 + lane / 16 * 8) * kRowBytes);
    const int left_piece = lane / 16 ^ swizzle(lane);
    const int right_piece = lane / 8 % 2 ^ swizzle(lane);
#pragma unroll
    for (int k = 0; k < kD / 16; ++k) {
      uint32_t x[kTiles][4];
#pragma unroll
      for (int i = 0; i < kTiles; ++i)
        load_matrices(x[i], left + (i * 16 * kRowBytes + piece_byte(2 * k, left_piece)));
#pragma unroll
      for (int n = 0; n < kChunk / 16; ++n) {
        uint32_t y[4];
        load_matrices(y, right + (n * 16 * kRowBytes + piece_byte(2 * k, right_piece)));
#pragma unroll
        for (int i = 0; i < kTiles; ++i) {
          mma(s.value[i][2 * n], x[i], y[0], y[1]);
          mma(s.value[i][2 * n + 1], x[i], y[2], y[3]);
        }
      }
    }
  }

  // sums += scores, rounded to bf16, times rows of tile b: (kRows,kChunk) (kChunk,kD). The scores
  // of two products side by side are, as they lie in registers, the left side of the next.
  __device__ static void add_products(Sums& sums, Scores& s, int b, int b_row, int) {
    const int lane = lane_here();
    const SharedByte right = shared_byte(b + (b_row + lane % 16) * kRowBytes);
    const int piece = lane / 16 ^ swizzle(lane);
#pragma unroll
    for (int k = 0; k < kChunk / 16; ++k) {
      uint32_t x[kTiles][4];
#pragma unroll
      for (int i = 0; i < kTiles; ++i)
#pragma unroll
        for (int q = 0; q < 4; ++q) {
          const float(&pair)[4] = s.value[i][2 * k + q / 2];
          x[i][q] = pack_bf16(pair[q % 2 * 2], pair[q % 2 * 2 + 1]);
        }
#pragma unroll
      for (int n = 0; n < kD / 16; ++n) {
        uint32_t y[4];
        load_matrices_transposed(y, right + (k * 16 * kRowBytes + piece_byte(2 * n, piece)));
#pragma unroll
        for (int i = 0; i < kTiles; ++i) {
          mma(sums.value[i][2 * n], x[i], y[0], y[1]);
          mma(sums.value[i][2 * n + 1], x[i], y[2], y[3]);
        }
      }
    }
  }

  // Rows of a head = sums, by way of the warp's own rows from `tile_row` on of a tile that nobody
  // else uses any more.   to: row 0 of the warp; `valid` rows are written
  __device__ static void put(const Sums& sums, int tile, int tile_row, bf16* to, int64_t stride,
                             int valid, int D) {
    const Place own;
    const Shared<uint32_t> pairs = shared_memory<uint32_t>(tile);
    const Shared<bf16> rows = shared_memory<bf16>(tile);
    __syncwarp();
#pragma unroll
    for (int i = 0; i < kRowSlots; ++i)
#pragma unroll
      for (int n = 0; n < kD / 8; ++n)
        pairs[(place(tile_row + own.row(i), n) + own.column(0)) / 2] =
            pack_bf16(sums.value[i / 2][n][i % 2 * 2], sums.value[i / 2][n][i % 2 * 2 + 1]);
    __syncwarp();
    const int c0 = own.lane % kGroup;
    for (int r = own.lane / kGroup; r < kRows && r < valid; r += kWarp / kGroup)
      for (int c = c0; c * 8 < D; c += kGroup)
        store(to + r * stride + c * 8, rows.load<8>(place(tile_row + r, c)));
  }

 private:
  static constexpr int kPieces = kD / 8;                   // of a row
  static constexpr int kGroup = kPieces % 8 == 0 ? 8 : 4;  // of them that change places
  static_assert(kPieces % kGroup == 0 && kTileColumns % kChunk == 0 && kChunk % 16 == 0);

  static constexpr int kRowBytes = kD * 2;

  // The same for rows a multiple of 8 apart.
  __device__ static int swizzle(int r) { return int(unsigned(r) / (8 / kGroup) % kGroup); }
  // Byte in its row of piece `even` + 0 or 1 of a row; of these and of its swizzle is `own` made.
  __device__ static int piece_byte(int even, int own) {
    return even / kGroup * kGroup * 16 + (even % kGroup ^ own) * 16;
  }
  // Element at which piece c of row r begins.
  __device__ static int place(int r, int c) { return r * kD + (c ^ swizzle(r)) * 8; }
};

}  // namespace limpid::cuda::flash
