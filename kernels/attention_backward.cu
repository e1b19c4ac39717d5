#include "kernels/cuda/attention_ways.h"
#include "kernels/cuda/flash.h"

// Two kernels, each of which recomputes the probabilities p: one gives dk and dv of a block of
// keys, one dq of a block of queries. That is seven products where a single kernel needs five, but
// every sum stays in the registers of one warp, in an order that the shape fixes. A single kernel
// would have to add dq across blocks: by atomics, whose order differs from run to run, or through
// f32 partial sums in memory, T / 128 for each element, whose traffic costs more time than two
// products once a GPU does 100 operations of tensor cores and more for each byte that it reads.
namespace limpid::cuda {
namespace {

using namespace flash;

constexpr int kRowPad = 128;  // rows of a head's statistics come in whole tiles

template <class T>
struct Backward {
  Heads<T> dq, dk, dv;
  Heads<const T> q, k, v, o, dout;
  const float* lse;    // (B,H,T)
  float *lse2, *mean;  // (B H, padded rows): lse in log2; sum over D of o dout. See prepare_kernel
  int padded;
  float scale;
  Sizes sizes;
  Order order;
  Dropout dropout;
};

// ---- statistics of rows

constexpr int kPrepareThreads = 128, kPrepareLanes = 8;

// Eight lanes a row. Past the last row lse is inf, and so every p there 0.
template <class T, int kSize>
__global__ void __launch_bounds__(kPrepareThreads) flash_prepare_kernel(Backward<T> a) {
  const Sizes& sizes = a.sizes;
  const int lane = int(threadIdx.x) % kPrepareLanes;
  const int64_t at = (int64_t(blockIdx.x) * kPrepareThreads + int(threadIdx.x)) / kPrepareLanes;
  const int head = int(at / a.padded), row = int(at % a.padded);
  const bool inside = row < sizes.rows;
  float sum = 0;
  if (inside) {
    const T* o = a.o.at(head / sizes.H, row, head % sizes.H);
    const T* dout = a.dout.at(head / sizes.H, row, head % sizes.H);
    for (int d = lane * kSize; d < sizes.D; d += kPrepareLanes * kSize) {
      const auto x = load<kSize>(o + d), y = load<kSize>(dout + d);
#pragma unroll
      for (int i = 0; i < kSize; ++i) sum += widen(x.at[i]) * widen(y.at[i]);
    }
  }
  for (int step = 1; step < kPrepareLanes; step *= 2)
    sum += __shfl_xor_sync(0xffffffffu, sum, step);
  if (lane != 0) return;
  a.mean[at] = sum;
  a.lse2[at] = inside ? a.lse[int64_t(head) * sizes.rows + row] * kLog2e : -never();
}

// ---- dk and dv

// Keys and values of the block, then two stages of queries, of dout and of their statistics.
template <class Way>
struct KeysBytes {
  static constexpr int kKeys = Way::kWarps * Way::kRows;
  static constexpr int kTile = Way::tile_bytes(Way::kTileColumns), kStats = Way::kTileColumns * 4;
  static constexpr int kValues = Way::tile_bytes(kKeys), kQueries = 2 * kValues;
  static constexpr int kDout = kQueries + 2 * kTile, kLse = kDout + 2 * kTile;
  static constexpr int kMean = kLse + 2 * kStats, kScratch = kMean + 2 * kStats;
  static constexpr int kTotal = kScratch + Way::kScratchBytes;
};

// The first tile of queries that does not see key `last` nor any before it.
template <int kColumns>
__device__ int tiles_that_see(const Sizes& sizes, int b, int last) {
  int low = 0, high = (sizes.rows + kColumns - 1) / kColumns;
  while (low < high) {
    const int middle = (low + high) / 2;
    sizes.start(b, middle * kColumns) <= last ? low = middle + 1 : high = middle;
  }
  return low;
}

// A block has some keys of one kv head, and goes through the queries that see them, head by head.
// Scores are transposed, so that p and its gradient are, as they lie in registers, the left side of
// the next product. kKeys, kValues: which gradients there is room for.
template <class Way, bool kDropout, bool kKeys, bool kValues>
__global__ void __launch_bounds__(Way::kThreads, Way::kBlocks)
    flash_keys_kernel(Backward<typename Way::Type> a) {
  using At = KeysBytes<Way>;
  constexpr int kRows = At::kKeys, kColumns = Way::kTileColumns;
  const Sizes& sizes = a.sizes;
  const Order::Place place = a.order.place();
  const int b = place.head / sizes.K, kv = place.head % sizes.K, group = sizes.H / sizes.K;
  const int key0 = place.block * kRows;
  const int warp_row = int(threadIdx.x) / kWarp * Way::kRows, warp0 = key0 + warp_row;
  const int first_tile = key0 / kColumns;
  const int tiles = tiles_that_see<kColumns>(sizes, b, key0 + kRows - 1) - first_tile;
  const int steps = tiles * group;

  const auto copy_queries = [&](int step, int stage) {
    const int h = kv * group + step / tiles, row = (first_tile + step % tiles) * kColumns;
    const int64_t stats = int64_t(b * sizes.H + h) * a.padded + row;
    const int tile = stage * At::kTile, in_stats = stage * At::kStats;
    Way::template copy<kColumns>(At::kQueries + tile, a.q.at(b, row, h), a.q.row, sizes.rows - row,
                                 sizes.D);
    Way::template copy<kColumns>(At::kDout + tile, a.dout.at(b, row, h), a.dout.row,
                                 sizes.rows - row, sizes.D);
    if (const int i = int(threadIdx.x); i < kColumns / 4) {
      copy_async(shared_byte(At::kLse + in_stats + i * 16), a.lse2 + stats + i * 4, true);
      copy_async(shared_byte(At::kMean + in_stats + i * 16), a.mean + stats + i * 4, true);
    }
    copy_async_commit();
  };
  Way::template copy<kRows>(0, a.k.at(b, key0, kv), a.k.row, sizes.rows - key0, sizes.D);
  Way::template copy<kRows>(At::kValues, a.v.at(b, key0, kv), a.v.row, sizes.rows - key0, sizes.D);
  copy_queries(0, 0);

  typename Way::Sums dk, dv;
  for (int step = 0; step < steps; ++step) {
    const int stage = step % 2, tile = stage * At::kTile;
    copy_async_wait<0>();
    __syncthreads();
    if (step + 1 < steps) copy_queries(step + 1, stage ^ 1);
    const int row = (first_tile + step % tiles) * kColumns;
    const int head = b * sizes.H + kv * group + step / tiles;
#pragma unroll 1
    for (int c = 0; c < kColumns; c += Way::kChunk) {
      const int first = row + c, last = first + Way::kChunk - 1;
      if (last < warp0 || sizes.start(b, first) > warp0 + Way::kRows - 1) continue;
      const Shared<float> lse2 = shared_memory<float>(At::kLse + stage * At::kStats) + c;
      const Shared<float> mean = shared_memory<float>(At::kMean + stage * At::kStats) + c;
      const Kept<Way, kDropout, true> kept(a.dropout, sizes, head, warp0, first);
      const typename Way::Place own;
      typename Way::Scores p;
      Way::add_dots(p, 0, warp_row, At::kQueries + tile, c, sizes.D);
      if (first < warp0 + Way::kRows - 1 || sizes.start(b, last) > warp0)
        hide_rows<Way>(p, sizes, b, warp0, first);
#pragma unroll
      for (int j = 0; j < Way::Scores::kColumnSlots; ++j) {
        const float less = lse2[own.column(j)];
#pragma unroll
        for (int i = 0; i < Way::kRowSlots; ++i)
          p.at(i, j) = Way::exp2(p.at(i, j) * sizes.scale2 - less);
      }
      if constexpr (kKeys) {
        typename Way::Scores dp;
        Way::add_dots(dp, At::kValues, warp_row, At::kDout + tile, c, sizes.D);
#pragma unroll
        for (int j = 0; j < Way::Scores::kColumnSlots; ++j) {
          const float less = mean[own.column(j)];
#pragma unroll
          for (int i = 0; i < Way::kRowSlots; ++i) {
            float& d = dp.at(i, j);
            d = p.at(i, j) * ((kept(i, j) ? d * a.dropout.factor : 0.0f) - less);
            if (!kept(i, j)) p.at(i, j) = 0;
          }
        }
        if constexpr (kValues) Way::add_products(dv, p, At::kDout + tile, c, At::kScratch);
        Way::add_products(dk, dp, At::kQueries + tile, c, At::kScratch);
      } else {
#pragma unroll
        for (int j = 0; j < Way::Scores::kColumnSlots; ++j)
#pragma unroll
          for (int i = 0; i < Way::kRowSlots; ++i)
            if (!kept(i, j)) p.at(i, j) = 0;
        Way::add_products(dv, p, At::kDout + tile, c, At::kScratch);
      }
    }
  }

#pragma unroll
  for (int i = 0; i < Way::kRowSlots; ++i) {
    if constexpr (kKeys) dk.scale_row(i, a.scale);
    if constexpr (kValues) dv.scale_row(i, a.dropout.factor);
  }
  const int valid = sizes.rows - warp0;
  if constexpr (kKeys) Way::put(dk, 0, warp_row, a.dk.at(b, warp0, kv), a.dk.row, valid, sizes.D);
  if constexpr (kValues)
    Way::put(dv, At::kValues, warp_row, a.dv.at(b, warp0, kv), a.dv.row, valid, sizes.D);
}

// ---- dq

// Queries and dout of the block, then two stages of keys and of values.
template <class Way>
struct QueriesBytes {
  static constexpr int kRows = Way::kWarps * Way::kRows;
  static constexpr int kTile = Way::tile_bytes(Way::kTileColumns);
  static constexpr int kDout = Way::tile_bytes(kRows), kKeys = 2 * kDout;
  static constexpr int kValues = kKeys + 2 * kTile, kScratch = kValues + 2 * kTile;
  static constexpr int kTotal = kScratch + Way::kScratchBytes;
};

// Each warp goes through the keys that its rows see.
template <class Way, bool kDropout>
__global__ void __launch_bounds__(Way::kThreads, Way::kBlocks)
    flash_queries_kernel(Backward<typename Way::Type> a) {
  using At = QueriesBytes<Way>;
  constexpr int kRows = At::kRows, kColumns = Way::kTileColumns;
  const Sizes& sizes = a.sizes;
  const Order::Place place = a.order.place();
  const int b = place.head / sizes.H, h = place.head % sizes.H, kv = h / (sizes.H / sizes.K);
  const int row0 = (a.order.blocks - 1 - place.block) * kRows;  // the longest first
  const int warp_row = int(threadIdx.x) / kWarp * Way::kRows, warp0 = row0 + warp_row;
  const int low = sizes.start(b, warp0), high = sizes.start(b, warp0 + Way::kRows - 1);
  const int end = std::min(row0 + kRows, sizes.rows);

  const auto copy_keys = [&](int column, int stage) {
    const int tile = stage * At::kTile;
    Way::template copy<kColumns>(At::kKeys + tile, a.k.at(b, column, kv), a.k.row,
                                 sizes.rows - column, sizes.D);
    Way::template copy<kColumns>(At::kValues + tile, a.v.at(b, column, kv), a.v.row,
                                 sizes.rows - column, sizes.D);
    copy_async_commit();
  };
  int column = sizes.start(b, row0) / kColumns * kColumns;
  Way::template copy<kRows>(0, a.q.at(b, row0, h), a.q.row, sizes.rows - row0, sizes.D);
  Way::template copy<kRows>(At::kDout, a.dout.at(b, row0, h), a.dout.row, sizes.rows - row0,
                            sizes.D);
  copy_keys(column, 0);

  const typename Way::Place own;
  float lse2[Way::kRowSlots], mean[Way::kRowSlots];
  for (int i = 0; i < Way::kRowSlots; ++i) {
    const int64_t stats = int64_t(place.head) * a.padded + warp0 + own.row(i);
    lse2[i] = a.lse2[stats], mean[i] = a.mean[stats];
  }
  typename Way::Sums dq;
  for (int stage = 0; column < end; column += kColumns, stage ^= 1) {
    copy_async_wait<0>();
    __syncthreads();
    if (column + kColumns < end) copy_keys(column + kColumns, stage ^ 1);
#pragma unroll 1
    for (int c = 0; c < kColumns; c += Way::kChunk) {
      const int first = column + c, last = first + Way::kChunk - 1;
      if (first > warp0 + Way::kRows - 1 || last < low) continue;
      const Kept<Way, kDropout, false> kept(a.dropout, sizes, place.head, warp0, first);
      typename Way::Scores p, dp;
      Way::add_dots(p, 0, warp_row, At::kKeys + stage * At::kTile, c, sizes.D);
      if (last > warp0 || first < high) hide_columns<Way>(p, sizes, b, warp0, first);
      Way::add_dots(dp, At::kDout, warp_row, At::kValues + stage * At::kTile, c, sizes.D);
#pragma unroll
      for (int i = 0; i < Way::kRowSlots; ++i)
#pragma unroll
        for (int j = 0; j < Way::Scores::kColumnSlots; ++j) {
          float& d = dp.at(i, j);
          d = Way::exp2(p.at(i, j) * sizes.scale2 - lse2[i]) *
              ((kept(i, j) ? d * a.dropout.factor : 0.0f) - mean[i]);
        }
      Way::add_products(dq, dp, At::kKeys + stage * At::kTile, c, At::kScratch);
    }
  }
#pragma unroll
  for (int i = 0; i < Way::kRowSlots; ++i) dq.scale_row(i, a.scale);
  Way::put(dq, 0, warp_row, a.dq.at(b, warp0, h), a.dq.row, sizes.rows - warp0, sizes.D);
}

// ---- the choice of sizes

// Beyond 128 columns the registers hold one of dk and dv.
template <class Way>
constexpr bool kOneAtATime = Way::kD > 128;

template <int kD>
using KeysTensor = std::conditional_t<
    kD <= 64, TensorCores<kD, 2, 4, 64, 32, 2>,
    std::conditional_t<kD <= 128, TensorCores<kD, 1, 8, 64, 32>, TensorCores<kD, 1, 4, 32, 16>>>;
template <int kD>
using QueriesTensor = std::conditional_t<
    kD <= 64, TensorCores<kD, 2, 4, 64, 32, 2>,
    std::conditional_t<kD <= 128, TensorCores<kD, 2, 4, 32, 32, 2>, TensorCores<kD, 1, 4, 32, 16>>>;
template <class T, int kD>
using BackwardPlain =
    std::conditional_t<kD <= 64, Plain<T, kD, 8, 8>,
                       std::conditional_t<kD <= 128, Plain<T, kD, 4, 8>, Plain<T, kD, 2, 4>>>;

template <class Way>
void keys_gradients(Stream& stream, Backward<typename Way::Type> a) {
  using At = KeysBytes<Way>;
  static_assert(kRowPad % Way::kTileColumns == 0);
  const Sizes& sizes = a.sizes;
  a.order = order_of(sizes.kv_heads, sizes.rows, At::kKeys, sizes.rows, sizes.D);
  const Launch how = {"flash_keys", a.order.total(), Way::kThreads, At::kTotal};
  const bool dropout = a.dropout.threshold != 0;
  if constexpr (kOneAtATime<Way>) {
    launch(stream, how,
           dropout ? flash_keys_kernel<Way, true, true, false>
                   : flash_keys_kernel<Way, false, true, false>,
           a);
    launch(stream, how,
           dropout ? flash_keys_kernel<Way, true, false, true>
                   : flash_keys_kernel<Way, false, false, true>,
           a);
  } else {
    launch(stream, how,
           dropout ? flash_keys_kernel<Way, true, true, true>
                   : flash_keys_kernel<Way, false, true, true>,
           a);
  }
}

template <class Way>
void queries_gradients(Stream& stream, Backward<typename Way::Type> a) {
  using At = QueriesBytes<Way>;
  static_assert(kRowPad % At::kRows == 0);
  const Sizes& sizes = a.sizes;
  a.order = order_of(sizes.heads, sizes.rows, At::kRows, sizes.rows, sizes.D);
  launch(stream, {"flash_queries", a.order.total(), Way::kThreads, At::kTotal},
         a.dropout.threshold ? flash_queries_kernel<Way, true> : flash_queries_kernel<Way, false>,
         a);
}

template <class T>
void prepare(Stream& stream, const Backward<T>& a) {
  with_width<T>(
      a.sizes.D,
      [&]<int kSize>() {
        const int64_t threads = int64_t(a.sizes.heads) * a.padded * kPrepareLanes;
        launch(stream, {"flash_prepare", threads / kPrepareThreads, kPrepareThreads},
               flash_prepare_kernel<T, kSize>, a);
      },
      a.o.data, a.dout.data);
}

}  // namespace

void flash_backward(Stream& stream, Tensor dqkv, Tensor dout, Tensor o, Tensor lse, Tensor qkv,
                    Tensor document_start, const Attention& how) {
  with_gpu_dtype(qkv.dtype, [&]<class T>() {
    const int64_t H = how.heads, K = how.kv_heads;
    Backward<T> a = {.dq = heads_of<T>(dqkv),
                     .dk = heads_of<T>(dqkv, H),
                     .dv = heads_of<T>(dqkv, H + K),
                     .q = heads_of<const T>(qkv),
                     .k = heads_of<const T>(qkv, H),
                     .v = heads_of<const T>(qkv, H + K),
                     .o = heads_of<const T>(o),
                     .dout = heads_of<const T>(dout),
                     .lse = lse.as<const float>(),
                     .lse2 = nullptr,
                     .mean = nullptr,
                     .padded = 0,
                     .scale = how.scale,
                     .sizes = sizes_of(qkv, document_start, how, 0),
                     .order = {},
                     .dropout = dropout_of(how)};
    a.padded = (a.sizes.rows + kRowPad - 1) / kRowPad * kRowPad;
    const int64_t stats = int64_t(a.sizes.heads) * a.padded;
    a.lse2 = static_cast<float*>(stream.queue().scratch(2 * stats * int64_t(sizeof(float))));
    a.mean = a.lse2 + stats;
    prepare(stream, a);
    with_way<T, KeysTensor, BackwardPlain>(
        a.sizes.D, [&]<class Way>() { keys_gradients<Way>(stream, a); }, a.dq.data, a.q.data,
        a.dout.data);
    with_way<T, QueriesTensor, BackwardPlain>(
        a.sizes.D, [&]<class Way>() { queries_gradients<Way>(stream, a); }, a.dq.data, a.q.data,
        a.dout.data);
  });
}

}  // namespace limpid::cuda
