#include "kernels/cuda/attention_ways.h"
#include "kernels/cuda/flash.h"

namespace limpid::cuda {
namespace {

using namespace flash;

template <class T>
struct Forward {
  Heads<T> o;
  float* lse;  // (B,H,rows), or null
  Heads<const T> q, k, v;
  Sizes sizes;
  Order order;
  Dropout dropout;
};

template <class Way>
constexpr int kBlockRows = Way::kWarps* Way::kRows;
// Queries, then two stages of keys and of values.
template <class Way>
constexpr int kForwardBytes = Way::tile_bytes(kBlockRows<Way>) +
                              4 * Way::tile_bytes(Way::kTileColumns) + Way::kScratchBytes;

// What a row knows of the columns so far: their largest score, and this thread's part of the sum of
// 2^(score - largest).
template <class Way>
struct Softmax {
  float top[Way::kRowSlots], total[Way::kRowSlots];
  float scale2;

  __device__ explicit Softmax(float scale2_) : scale2(scale2_) {
    for (int i = 0; i < Way::kRowSlots; ++i) top[i] = never(), total[i] = 0;
  }
  // What the exponents of row slot i are less by; 0 as long as it has seen nothing.
  __device__ float shift(int i) const { return top[i] == never() ? 0 : top[i] * scale2; }
  // Scores become exponents; what was summed with a former largest score is scaled down, which is
  // seldom needed once a few columns have been seen.
  __device__ void add(typename Way::Scores& s, typename Way::Sums& sums) {
    float fade[Way::kRowSlots];
    bool changed = false;
#pragma unroll
    for (int i = 0; i < Way::kRowSlots; ++i) {
      float most = top[i];
#pragma unroll
      for (int j = 0; j < Way::Scores::kColumnSlots; ++j) most = fmaxf(most, s.at(i, j));
      most = Way::row_reduce(most, Max());
      changed |= most != top[i];
      fade[i] = top[i] * scale2;
      top[i] = most;
      fade[i] = Way::exp2(fade[i] - shift(i));
    }
    if (__any_sync(0xffffffffu, changed)) {
#pragma unroll
      for (int i = 0; i < Way::kRowSlots; ++i) {
        total[i] *= fade[i];
        sums.scale_row(i, fade[i]);
      }
    }
#pragma unroll
    for (int i = 0; i < Way::kRowSlots; ++i) {
      const float less = shift(i);
#pragma unroll
      for (int j = 0; j < Way::Scores::kColumnSlots; ++j)
        total[i] += s.at(i, j) = Way::exp2(s.at(i, j) * scale2 - less);
    }
  }
};

// Each warp goes through the keys that its rows see, from left to right.
template <class Way, bool kDropout>
__global__ void __launch_bounds__(Way::kThreads, kDropout ? 1 : Way::kBlocks)
    flash_forward_kernel(Forward<typename Way::Type> a) {
  constexpr int kRows = kBlockRows<Way>, kColumns = Way::kTileColumns;
  constexpr int kTile = Way::tile_bytes(kColumns), kQueries = 0;
  constexpr int kKeys = Way::tile_bytes(kRows), kValues = kKeys + 2 * kTile;
  constexpr int kScratch = kValues + 2 * kTile;
  const Sizes& sizes = a.sizes;
  const Order::Place at = a.order.place();
  const int b = at.head / sizes.H, h = at.head % sizes.H, kv = h / (sizes.H / sizes.K);
  const int row0 = (a.order.blocks - 1 - at.block) * kRows;  // the longest first
  const int warp_row = int(threadIdx.x) / kWarp * Way::kRows, warp0 = row0 + warp_row;
  const int low = sizes.start(b, warp0), high = sizes.start(b, warp0 + Way::kRows - 1);
  // The last key that the warp sees; none where it has no rows.
  const int seen = warp0 < sizes.rows ? sizes.first + warp0 + Way::kRows - 1 : -1;
  const int end = std::min(sizes.first + row0 + kRows, sizes.keys);

  const auto copy_keys = [&](int column, int stage) {
    Way::template copy<kColumns>(kKeys + stage * kTile, a.k.at(b, column, kv), a.k.row,
                                 sizes.keys - column, sizes.D);
    Way::template copy<kColumns>(kValues + stage * kTile, a.v.at(b, column, kv), a.v.row,
                                 sizes.keys - column, sizes.D);
    copy_async_commit();
  };
  int column = sizes.start(b, row0) / kColumns * kColumns;
  Way::template copy<kRows>(kQueries, a.q.at(b, row0, h), a.q.row, sizes.rows - row0, sizes.D);
  copy_keys(column, 0);

  typename Way::Sums sums;
  Softmax<Way> softmax(sizes.scale2);
  for (int stage = 0; column < end; column += kColumns, stage ^= 1) {
    copy_async_wait<0>();
    __syncthreads();
    if (column + kColumns < end) copy_keys(column + kColumns, stage ^ 1);
#pragma unroll 1
    for (int c = 0; c < kColumns; c += Way::kChunk) {
      const int first = column + c, last = first + Way::kChunk - 1;
      if (first > seen || last < low) continue;
      const Kept<Way, kDropout, false> kept(a.dropout, sizes, at.head, warp0, first);
      typename Way::Scores s;
      Way::add_dots(s, kQueries, warp_row, kKeys + stage * kTile, c, sizes.D);
      if (last > sizes.first + warp0 || first < high) hide_columns<Way>(s, sizes, b, warp0, first);
      softmax.add(s, sums);
#pragma unroll
      for (int i = 0; i < Way::kRowSlots; ++i)
#pragma unroll
        for (int j = 0; j < Way::Scores::kColumnSlots; ++j)
          if (!kept(i, j)) s.at(i, j) = 0;
      Way::add_products(sums, s, kValues + stage * kTile, c, kScratch);
    }
  }

  const typename Way::Place own;
#pragma unroll
  for (int i = 0; i < Way::kRowSlots; ++i) {
    const float total = Way::row_reduce(softmax.total[i], Plus());
    const int row = warp0 + own.row(i);
    sums.scale_row(i, a.dropout.factor / total);
    if (a.lse && own.column(0) == 0 && row < sizes.rows)
      a.lse[int64_t(at.head) * sizes.rows + row] = (softmax.shift(i) + log2f(total)) * kLn2;
  }
  Way::put(sums, kQueries, warp_row, a.o.at(b, warp0, h), a.o.row, sizes.rows - warp0, sizes.D);
}

// What calculates a head of kD columns forward.
template <int kD>
using ForwardTensor = std::conditional_t<
    kD <= 64, TensorCores<kD, 2, 4, 64, 32, 3>,
    std::conditional_t<kD <= 128, TensorCores<kD, 2, 4, 64, 32, 2>, TensorCores<kD, 1, 8, 32, 16>>>;
template <class T, int kD>
using ForwardPlain = std::conditional_t<kD <= 128, Plain<T, kD, 8, 8>, Plain<T, kD, 4, 4>>;

template <class Way>
void forward(Stream& stream, Forward<typename Way::Type> a) {
  a.order = order_of(a.sizes.heads, a.sizes.rows, kBlockRows<Way>, a.sizes.keys, a.sizes.D);
  const auto kernel =
      a.dropout.threshold ? flash_forward_kernel<Way, true> : flash_forward_kernel<Way, false>;
  launch(stream, {"flash_forward", a.order.total(), Way::kThreads, kForwardBytes<Way>}, kernel, a);
}

}  // namespace

void flash_forward(Stream& stream, Tensor o, Tensor lse, Tensor q, const FlashKeys& keys,
                   Tensor document_start, const Attention& how) {
  with_gpu_dtype(q.dtype, [&]<class T>() {
    const Forward<T> a = {.o = heads_of<T>(o),
                          .lse = data_of<float>(lse),
                          .q = heads_of<const T>(q),
                          .k = heads_of<const T>(keys.keys, keys.key_head),
                          .v = heads_of<const T>(keys.values, keys.value_head),
                          .sizes = sizes_of(q, document_start, how, keys.first),
                          .order = {},
                          .dropout = dropout_of(how)};
    with_way<T, ForwardTensor, ForwardPlain>(
        a.sizes.D, [&]<class Way>() { forward<Way>(stream, a); }, a.o.data, a.q.data, a.k.data,
        a.v.data);
  });
}

}  // namespace limpid::cuda
