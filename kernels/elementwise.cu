#include "kernels/cuda/elements.h"
#include "kernels/cuda/reduce.h"
#include "kernels/dropout_mask.h"
#include "kernels/elementwise.h"

namespace limpid::cuda {
namespace {

struct Times {
  float factor;
  __device__ float operator()(float x) const { return x * factor; }
};

// kSize elements by whole groups of four words of the mask, or one element by its own word.
template <int kSize, class T>
__global__ void __launch_bounds__(kElementThreads)
    dropout_kernel(T* y, const T* x, int64_t n, DropoutMask mask, int64_t first_index) {
  const float factor = mask.factor();
  for_elements<kSize>(n, [&](int64_t i) {
    const uint64_t element = uint64_t(first_index + i);
    Values<kSize> v = load_values<kSize>(x + i);
    if constexpr (kSize % 4 == 0) {
#pragma unroll
      for (int k = 0; k < kSize; k += 4) {
        const auto keeps = mask.keeps_four((element + uint64_t(k)) / 4);
#pragma unroll
        for (int j = 0; j < 4; ++j) v.at[k + j] = keeps[size_t(j)] ? v.at[k + j] * factor : 0;
      }
    } else {
      const auto keeps = mask.keeps_four(element / 4);
      bool keep = false;
#pragma unroll  // an index that is known only now would keep the words in memory
      for (int j = 0; j < 4; ++j) keep = element % 4 == uint64_t(j) ? keeps[size_t(j)] : keep;
      v.at[0] = keep ? v.at[0] * factor : 0;
    }
    store_values(y + i, v);
  });
}

}  // namespace

void add(Stream& stream, Tensor y, Tensor a, Tensor b) {
  with_gpu_dtype(y.dtype, [&]<class T>() {
    map(stream, "add", y.as<T>(), y.numel(), Plus(), a.as<const T>(), b.as<const T>());
  });
}

void scale(Stream& stream, Tensor y, float factor) {
  with_gpu_dtype(y.dtype, [&]<class T>() {
    map(stream, "scale", y.as<T>(), y.numel(), Times{factor}, y.as<const T>());
  });
}

void dropout(Stream& stream, Tensor y, Tensor x, float p, const Random& random,
             int64_t first_index) {
  const DropoutMask mask(random, p);
  with_gpu_dtype(y.dtype, [&]<class T>() {
    const int64_t n = y.numel();
    with_width<T>(
        first_index % 4 == 0 ? n : 1,
        [&]<int kSize>() {
          launch(stream, over_elements(stream, "dropout", n, kSize), dropout_kernel<kSize, T>,
                 y.as<T>(), x.as<const T>(), n, mask, first_index);
        },
        y.as<T>(), x.as<T>());
  });
}

}  // namespace limpid::cuda
