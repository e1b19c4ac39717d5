#include "kernels/cuda/rows.h"
#include "kernels/qk_norm.h"

namespace limpid::cuda {
namespace {

// A group of threads has a head at a time: a quarter of a warp, half of one, or all of it.
template <class T, int kSize, int kThreads, int kPacks>
struct HeadShape : RowShape<T, kSize, kThreads, kPacks> {
  static constexpr int kBlock = 256, kGroups = kBlock / kThreads;
};

// Calls f.operator()<HeadShape>() with the smallest shape that holds D dims.
template <class T, class F, class... Pointers>
void with_head_shape(int64_t D, F&& f, const Pointers*... pointers) {
  with_width<T>(
      D,
      [&]<int kSize>() {
        constexpr int kLongest = 256, kPacks = kLongest / 32 / kSize;
        require(D <= kLongest, "heads of {} dims are too long for the CUDA kernels: {} at most", D,
                kLongest);
        if (D <= 8 * kSize) return f.template operator()<HeadShape<T, kSize, 8, 1>>();
        if (D <= 16 * kSize) return f.template operator()<HeadShape<T, kSize, 16, 1>>();
        if (D <= 32 * kSize) return f.template operator()<HeadShape<T, kSize, 32, 1>>();
        if constexpr (kPacks > 1) f.template operator()<HeadShape<T, kSize, 32, kPacks>>();
      },
      pointers...);
}

// The heads of one token: `queries`, then `keys`, then the values.
struct Heads {
  int64_t tokens, D;
  int all, queries, keys;
};

Heads heads_of(Tensor x, int64_t queries) {
  const int64_t all = x.shape[2];
  return {.tokens = x.shape[0] * x.shape[1],
          .D = x.shape[3],
          .all = int(all),
          .queries = int(queries),
          .keys = int((all - queries) / 2)};
}

// ---- forward

template <class T>
struct Forward {
  T* y;
  float* rstd;
  const T *x, *wq, *wk;
  Heads n;
  float eps;
};

// A group without a head takes part in the sums of its warp.
template <class Row>
__global__ void __launch_bounds__(Row::kBlock)
    qk_norm_forward_kernel(Forward<typename Row::Type> a) {
  const RowPlace<Row> place;
  const int64_t token = place.group / a.n.all;
  const int head = int(place.group % a.n.all), normed = a.n.queries + a.n.keys;
  const bool valid = token < a.n.tokens;
  const auto x = load_row(place, a.x + place.group * a.n.D, valid ? a.n.D : 0);
  float squares = 0;
  for_values(place, a.n.D, [&](int p, int i) { squares += x.at[p][i] * x.at[p][i]; });
  const float rstd = rsqrtf(warp_sum<Row::kThreads>(squares) / float(a.n.D) + a.eps);
  if (!valid) return;
  auto* y = a.y + place.group * a.n.D;
  if (head >= normed) {
    store_row(place, y, a.n.D, [&](int p, int i) { return x.at[p][i]; });
    return;
  }
  const auto w = load_row(place, head < a.n.queries ? a.wq : a.wk, a.n.D);
  store_row(place, y, a.n.D, [&](int p, int i) { return w.at[p][i] * (x.at[p][i] * rstd); });
  if (place.thread == 0) a.rstd[token * normed + head] = rstd;
}

// ---- backward

template <class T>
struct Backward {
  T* dx;
  float* partials;  // (blocks,2,D): for wq, for wk
  const T *dy, *x, *wq, *wk;
  const float* rstd;
  Heads n;
};

// What one thread adds up for the gradient of w over its token's heads [begin, end).
template <class Row>
__device__ void backward_heads(RowValues<Row>& dw, const Backward<typename Row::Type>& a,
                               const RowPlace<Row>& place, int64_t token, int begin, int end,
                               const RowValues<Row>& w) {
  const bool valid = token < a.n.tokens;
  const int64_t D = valid ? a.n.D : 0;
  for (int head = begin; head < end; ++head) {
    const int64_t at = (token * a.n.all + head) * a.n.D;
    const auto x = load_row(place, a.x + at, D), dy = load_row(place, a.dy + at, D);
    const float rstd = valid ? a.rstd[token * (a.n.queries + a.n.keys) + head] : 0;
    float dot = 0;
    for_values(place, D, [&](int p, int i) {
      const float product = dy.at[p][i] * (x.at[p][i] * rstd);
      dw.at[p][i] += product;
      dot += w.at[p][i] * product;
    });
    dot = warp_sum<Row::kThreads>(dot) / float(a.n.D);
    store_row(place, a.dx + at, D, [&](int p, int i) {
      return rstd * (w.at[p][i] * dy.at[p][i] - x.at[p][i] * rstd * dot);
    });
  }
}

// The sums of a block's groups, added group by group, to to[0 ... D).
template <class Row>
__device__ void store_block_sums(float* to, const RowPlace<Row>& place, int64_t D,
                                 const RowValues<Row>& sums) {
  const Shared<float> all = shared_memory<float>();
  const int first = int(threadIdx.x) / Row::kThreads * int(D);
  for_values(place, D,
             [&](int p, int i) { all[first + int(place.column(p)) + i] = sums.at[p][i]; });
  __syncthreads();
  for (int c = int(threadIdx.x); c < int(D); c += Row::kBlock) {
    float sum = 0;
    for (int g = 0; g < Row::kGroups; ++g) sum += all[g * int(D) + c];
    to[c] = sum;
  }
  __syncthreads();
}

// One group has every groups-th token, head after head.
template <class Row>
__global__ void __launch_bounds__(Row::kBlock)
    qk_norm_backward_kernel(Backward<typename Row::Type> a) {
  const RowPlace<Row> place;
  const int normed = a.n.queries + a.n.keys;
  const auto wq = load_row(place, a.wq, a.n.D), wk = load_row(place, a.wk, a.n.D);
  RowValues<Row> dwq, dwk;
  for (int64_t first = 0; first < a.n.tokens; first += place.groups) {
    const int64_t token = first + place.group;
    backward_heads(dwq, a, place, token, 0, a.n.queries, wq);
    backward_heads(dwk, a, place, token, a.n.queries, normed, wk);
    if (a.dx == a.dy || token >= a.n.tokens) continue;
    for (int head = normed; head < a.n.all; ++head) {
      const int64_t at = (token * a.n.all + head) * a.n.D;
      const auto dy = load_row(place, a.dy + at, a.n.D);
      store_row(place, a.dx + at, a.n.D, [&](int p, int i) { return dy.at[p][i]; });
    }
  }
  float* to = a.partials + int64_t(blockIdx.x) * 2 * a.n.D;
  store_block_sums(to, place, a.n.D, dwq);
  store_block_sums(to + a.n.D, place, a.n.D, dwk);
}

}  // namespace

void qk_norm_forward(Stream& stream, Tensor y, Tensor rstd, Tensor x, Tensor wq, Tensor wk,
                     int64_t heads, float eps) {
  with_gpu_dtype(x.dtype, [&]<class T>() {
    const Forward<T> a = {.y = y.as<T>(),
                          .rstd = rstd.as<float>(),
                          .x = x.as<const T>(),
                          .wq = wq.as<const T>(),
                          .wk = wk.as<const T>(),
                          .n = heads_of(x, heads),
                          .eps = eps};
    with_head_shape<T>(
        a.n.D,
        [&]<class Row>() {
          const int64_t blocks = (a.n.tokens * a.n.all + Row::kGroups - 1) / Row::kGroups;
          launch(stream, {"qk_norm_forward", blocks, Row::kBlock}, qk_norm_forward_kernel<Row>, a);
        },
        a.y, a.x, a.wq, a.wk);
  });
}

void qk_norm_backward(Stream& stream, Tensor dx, Tensor dwq, Tensor dwk, Tensor dy, Tensor x,
                      Tensor wq, Tensor wk, Tensor rstd, int64_t heads) {
  with_gpu_dtype(x.dtype, [&]<class T>() {
    Backward<T> a = {.dx = dx.as<T>(),
                     .partials = nullptr,
                     .dy = dy.as<const T>(),
                     .x = x.as<const T>(),
                     .wq = wq.as<const T>(),
                     .wk = wk.as<const T>(),
                     .rstd = rstd.as<const float>(),
                     .n = heads_of(x, heads)};
    with_head_shape<T>(
        a.n.D,
        [&]<class Row>() {
          const int64_t D = a.n.D, blocks = groups_for<Row>(stream, a.n.tokens) / Row::kGroups;
          const int64_t float_bytes = sizeof(float);
          a.partials = static_cast<float*>(stream.queue().scratch(blocks * 2 * D * float_bytes));
          launch(stream, {"qk_norm_backward", blocks, Row::kBlock, Row::kGroups * D * float_bytes},
                 qk_norm_backward_kernel<Row>, a);
          add_partials(stream, dwq.as<float>(), a.partials, blocks, 2 * D, D);
          add_partials(stream, dwk.as<float>(), a.partials + D, blocks, 2 * D, D);
        },
        a.dx, a.dy, a.x, a.wq, a.wk);
  });
}

}  // namespace limpid::cuda
