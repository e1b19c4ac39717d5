#include "core/launch.h"
#include "core/pack.h"
#include "kernels/attention.h"
#include "kernels/cuda/cudnn.h"
#include "kernels/cuda/faster.h"
#include "kernels/cuda/flash.h"

namespace limpid::cuda {
namespace {

constexpr int kThreads = 256;

// New keys and values to their places in the caches.
template <class T>
struct Fill {
  T *keys, *values;  // (B,Tmax,K,D)
  const T* qkv;      // (B,N,H+2K,D)
  int64_t B, N, Tmax, position;
  int64_t first, row, width;  // elements: of qkv before k, of a row of qkv, of a row of a cache
};

template <class T, int kSize>
__global__ void __launch_bounds__(kThreads) fill_cache_kernel(Fill<T> a) {
  const int64_t packs = a.width / kSize, total = a.B * a.N * packs;
  const int64_t stride = int64_t(gridDim.x) * kThreads;
  for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < total; i += stride) {
    const int64_t c = i % packs * kSize, n = i / packs % a.N, b = i / packs / a.N;
    const T* from = a.qkv + (b * a.N + n) * a.row + a.first + c;
    const int64_t to = (b * a.Tmax + a.position + n) * a.width + c;
    store(a.keys + to, load<kSize>(from));
    store(a.values + to, load<kSize>(from + a.width));
  }
}

// Whether the library is linked and does what is asked; it says itself which shapes it knows.
bool cudnn_may_be_faster(const Tensor& document_start, const Attention& how) {
  return run_faster && !document_start && how.dropout == 0;
}

std::string name_of(const char* op, const Tensor& qkv, const Attention& how) {
  return format("{} {} {} of {} heads", op, qkv.dtype, qkv.shape, how.heads);
}

}  // namespace

void attention_forward(Stream& stream, Tensor o, Tensor lse, Tensor qkv, Tensor document_start,
                       const Attention& how) {
  const FlashKeys keys = {
      .keys = qkv, .values = qkv, .key_head = how.heads, .value_head = how.heads + how.kv_heads};
  const auto own = [&] { flash_forward(stream, o, lse, qkv, keys, document_start, how); };
  if (!cudnn_may_be_faster(document_start, how)) return own();
  run_faster(
      stream, name_of("attention_forward", qkv, how),
      [&] { return cudnn_attention_forward(stream, o, lse, qkv, document_start, how); }, own);
}

void attention_backward(Stream& stream, Tensor dqkv, Tensor dout, Tensor o, Tensor lse, Tensor qkv,
                        Tensor document_start, const Attention& how) {
  const auto own = [&] { flash_backward(stream, dqkv, dout, o, lse, qkv, document_start, how); };
  if (!cudnn_may_be_faster(document_start, how)) return own();
  const auto library = [&] {
    constexpr bool kDeterministic = true;
    return cudnn_attention_backward(stream, dqkv, dout, o, lse, qkv, document_start, how,
                                    kDeterministic);
  };
  run_faster(stream, name_of("attention_backward", qkv, how), library, own);
}

void attention_cached(Stream& stream, Tensor o, Tensor keys, Tensor values, Tensor qkv,
                      int64_t position, const Attention& how) {
  with_gpu_dtype(qkv.dtype, [&]<class T>() {
    const int64_t D = qkv.shape[3];
    const Fill<T> a = {.keys = keys.as<T>(),
                       .values = values.as<T>(),
                       .qkv = qkv.as<const T>(),
                       .B = qkv.shape[0],
                       .N = qkv.shape[1],
                       .Tmax = keys.shape[1],
                       .position = position,
                       .first = how.heads * D,
                       .row = qkv.shape[2] * D,
                       .width = how.kv_heads * D};
    with_width<T>(
        D,
        [&]<int kSize>() {
          launch(
              stream,
              {"fill_cache", blocks_for(stream, a.B * a.N * a.width / kSize, kThreads), kThreads},
              fill_cache_kernel<T, kSize>, a);
        },
        a.keys, a.values, a.qkv);
  });
  flash_forward(stream, o, {}, qkv, {.keys = keys, .values = values, .first = position}, {}, how);
}

}  // namespace limpid::cuda
