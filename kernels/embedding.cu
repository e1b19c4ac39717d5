#include "kernels/cuda/elements.h"
#include "kernels/cuda/reduce.h"
#include "kernels/cuda/sort.h"
#include "kernels/embedding.h"

namespace limpid::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;

// ---- forward

template <class T>
struct Lookup {
  T* y;
  const int32_t* tokens;
  const T *w, *positions;  // positions: from the first on, or null
  int64_t rows, length, C;
};

// A warp has a row at a time.
template <int kSize, class T>
__global__ void __launch_bounds__(kThreads) embedding_forward_kernel(Lookup<T> a) {
  const int lane = int(threadIdx.x) % kWarp;
  const int64_t warp = int64_t(blockIdx.x) * kWarps + int(threadIdx.x) / kWarp;
  for (int64_t r = warp; r < a.rows; r += int64_t(gridDim.x) * kWarps) {
    const T* row = a.w + int64_t(a.tokens[r]) * a.C;
    const T* position = a.positions ? a.positions + r % a.length * a.C : nullptr;
    for (int64_t c = lane * kSize; c < a.C; c += kWarp * kSize) {
      Values<kSize> v = load_values<kSize>(row + c);
      if (position) v = each(Plus(), v, load_values<kSize>(position + c));
      store_values(a.y + r * a.C + c, v);
    }
  }
}

// ---- backward. Tokens sorted by id are cut into tiles of 32, so that no id, however frequent,
// keeps one warp long. The first part of an id's tokens goes to dw at once; what a tile holds of an
// id that began in an earlier one is kept, and added to dw tile by tile when all tiles are done.

constexpr int kTile = kWarp;  // tokens

template <class T>
struct Gradient {
  float* dw;
  float* kept;  // (tiles,C)
  const T* dy;
  const int32_t *tokens, *order;  // order[i]: which token is i-th in the order of ids
  int64_t rows, tiles, C;
  int64_t strips;  // columns in strips that a warp has at a time

  __device__ int32_t id(int64_t i) const { return tokens[order[i]]; }
};

// Where the running warp works.
template <int kSize>
struct Tile {
  int lane = int(threadIdx.x) % kWarp;
  int64_t index, column;

  __device__ explicit Tile(int64_t strips) {
    const int64_t warp = int64_t(blockIdx.x) * kWarps + int(threadIdx.x) / kWarp;
    index = warp / strips;
    column = (warp % strips * kWarp + lane) * kSize;
  }
};

template <int kSize, class T>
__global__ void __launch_bounds__(kThreads) embedding_tiles_kernel(Gradient<T> a) {
  constexpr int kBatch = 8;  // rows that are under way together
  const Tile<kSize> tile(a.strips);
  if (tile.index >= a.tiles) return;
  const int64_t begin = tile.index * kTile;
  const int count = int(std::min(int64_t(kTile), a.rows - begin));
  const bool mine = tile.column < a.C;
  // Lane l knows the l-th token of the tile.
  const int32_t row_of_lane = tile.lane < count ? a.order[begin + tile.lane] : 0;
  const int32_t id_of_lane = tile.lane < count ? a.tokens[row_of_lane] : -1;
  const int32_t id_before = begin > 0 ? a.id(begin - 1) : -1;
  Values<kSize> sum;
  for (int first = 0; first < count; first += kBatch) {
    Values<kSize> rows[kBatch];
#pragma unroll
    for (int k = 0; k < kBatch; ++k) {
      const int64_t row = __shfl_sync(0xffffffffu, row_of_lane, first + k);
      if (first + k < count && mine) rows[k] = load_values<kSize>(a.dy + row * a.C + tile.column);
    }
#pragma unroll
    for (int k = 0; k < kBatch; ++k) {
      const int32_t id = __shfl_sync(0xffffffffu, id_of_lane, first + k);
      const int32_t next = __shfl_sync(0xffffffffu, id_of_lane, first + k + 1);
      if (first + k >= count) break;
      sum = each(Plus(), sum, rows[k]);
      if (next == id && first + k + 1 < kTile) continue;
      if (mine && id == id_before) {
        store_values(a.kept + tile.index * a.C + tile.column, sum);
      } else if (mine) {
        float* to = a.dw + int64_t(id) * a.C + tile.column;
        store_values(to, each(Plus(), load_values<kSize>(to), sum));
      }
      sum = Values<kSize>();
    }
  }
}

// The warp of the tile where an id begins that goes on beyond adds what later tiles kept.
template <int kSize, class T>
__global__ void __launch_bounds__(kThreads) embedding_kept_kernel(Gradient<T> a) {
  const Tile<kSize> tile(a.strips);
  const int64_t begin = tile.index * kTile, end = begin + kTile;
  if (end >= a.rows) return;
  const int32_t id = a.id(end - 1);
  if (a.id(end) != id || (begin > 0 && a.id(begin - 1) == id)) return;
  float* to = a.dw + int64_t(id) * a.C + tile.column;
  const bool mine = tile.column < a.C;
  Values<kSize> sum;
  if (mine) sum = load_values<kSize>(to);
  int tiles = kWarp;  // of the next 32, those that begin with the id
  for (int64_t first = tile.index + 1; tiles == kWarp; first += kWarp) {
    const int64_t other = first + tile.lane;
    tiles = __popc(__ballot_sync(0xffffffffu, other < a.tiles && a.id(other * kTile) == id));
    if (!mine) continue;
#pragma unroll 4
    for (int k = 0; k < tiles; ++k)
      sum = each(Plus(), sum, load_values<kSize>(a.kept + (first + k) * a.C + tile.column));
  }
  if (mine) store_values(to, sum);
}

// dpositions[i] += the sum over the samples, n elements each.
template <int kSize, class T>
__global__ void __launch_bounds__(kElementThreads)
    embedding_positions_kernel(float* dpositions, const T* dy, int64_t n, int64_t samples) {
  for_elements<kSize>(n, [&](int64_t i) {
    Values<kSize> sum = load_values<kSize>(dpositions + i);
#pragma unroll 4
    for (int64_t b = 0; b < samples; ++b)
      sum = each(Plus(), sum, load_values<kSize>(dy + b * n + i));
    store_values(dpositions + i, sum);
  });
}

template <class T>
void add_to_weight(Stream& stream, Tensor dw, Tensor dy, Tensor tokens) {
  const int64_t rows = dy.rows(), C = dw.cols(), tiles = (rows + kTile - 1) / kTile;
  const int64_t word = sizeof(int32_t), kept = tiles * C;
  // kept first, because its rows begin on 16 bytes
  auto* const scratch =
      static_cast<float*>(stream.queue().scratch((kept + rows + sort_scratch(rows)) * word));
  auto* const order = reinterpret_cast<int32_t*>(scratch + kept);
  sort_indices(stream, order, tokens.as<const int32_t>(), rows, dw.rows(), order + rows);
  with_width<T>(
      C,
      [&]<int kSize>() {
        const int64_t strips = (C + kWarp * kSize - 1) / (kWarp * kSize);
        const int64_t blocks = (tiles * strips + kWarps - 1) / kWarps;
        const Gradient<T> a = {.dw = dw.as<float>(),
                               .kept = scratch,
                               .dy = dy.as<const T>(),
                               .tokens = tokens.as<const int32_t>(),
                               .order = order,
                               .rows = rows,
                               .tiles = tiles,
                               .C = C,
                               .strips = strips};
        launch(stream, {"embedding_tiles", blocks, kThreads}, embedding_tiles_kernel<kSize, T>, a);
        launch(stream, {"embedding_kept", blocks, kThreads}, embedding_kept_kernel<kSize, T>, a);
      },
      dw.as<float>(), dy.as<T>());
}

template <class T>
void add_to_positions(Stream& stream, float* dpositions, Tensor dy, int64_t length) {
  const int64_t n = length * dy.cols();
  with_width<T>(
      n,
      [&]<int kSize>() {
        launch(stream, over_elements(stream, "embedding_positions", n, kSize),
               embedding_positions_kernel<kSize, T>, dpositions, dy.as<const T>(), n,
               dy.numel() / n);
      },
      dpositions, dy.as<T>());
}

}  // namespace

void embedding_forward(Stream& stream, Tensor y, Tensor tokens, Tensor w, Tensor positions,
                       int64_t first_position) {
  with_gpu_dtype(w.dtype, [&]<class T>() {
    const int64_t C = w.cols();
    const Lookup<T> a = {
        .y = y.as<T>(),
        .tokens = tokens.as<const int32_t>(),
        .w = w.as<const T>(),
        .positions = positions ? positions.as<const T>() + first_position * C : nullptr,
        .rows = y.rows(),
        .length = tokens.cols(),
        .C = C};
    with_width<T>(
        C,
        [&]<int kSize>() {
          const int64_t blocks = blocks_for(stream, a.rows * kWarp, kThreads);
          launch(stream, {"embedding_forward", blocks, kThreads},
                 embedding_forward_kernel<kSize, T>, a);
        },
        a.y, a.w, a.positions);
  });
}

void embedding_backward(Stream& stream, Tensor dw, Tensor dpositions, Tensor dy, Tensor tokens,
                        int64_t first_position) {
  if (dy.numel() == 0) return;
  with_gpu_dtype(dy.dtype, [&]<class T>() {
    add_to_weight<T>(stream, dw, dy, tokens);
    if (dpositions)
      add_to_positions<T>(stream, dpositions.as<float>() + first_position * dy.cols(), dy,
                          tokens.cols());
  });
}

}  // namespace limpid::cuda
