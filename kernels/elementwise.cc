#include "kernels/elementwise.h"

#include "kernels/check.h"
#include "kernels/dropout_mask.h"
#include "kernels/put.h"
#include "kernels/split.h"

namespace limpid {

void add(Stream& stream, Tensor y, Tensor a, Tensor b) {
  require_like(y, a, "y", "a");
  require_like(b, a, "b", "a");
  if (stream.device == Device::cuda) return cuda::add(stream, y, a, b);
  with_dtype(y.dtype, [&]<class T>() {
    T* to = y.as<T>();
    const T *left = a.as<const T>(), *right = b.as<const T>();
    for_blocks(y.numel(), [=](int64_t begin, int64_t end) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) put(to[i], Accum<T>(left[i]) + Accum<T>(right[i]));
    });
  });
}

void scale(Stream& stream, Tensor y, float factor) {
  if (stream.device == Device::cuda) return cuda::scale(stream, y, factor);
  with_dtype(y.dtype, [&]<class T>() {
    T* to = y.as<T>();
    for_blocks(y.numel(), [=](int64_t begin, int64_t end) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) put(to[i], Accum<T>(to[i]) * Accum<T>(factor));
    });
  });
}

void dropout(Stream& stream, Tensor y, Tensor x, float p, const Random& mask, int64_t first_index) {
  require_like(y, x, "y", "x");
  require(first_index >= 0, "the first index of a dropout is {}, need 0 or more", first_index);
  const DropoutMask drop(mask, p);
  if (stream.device == Device::cuda) return cuda::dropout(stream, y, x, p, mask, first_index);
  with_dtype(y.dtype, [&]<class T>() {
    using A = Accum<T>;
    T* to = y.as<T>();
    const T* from = x.as<const T>();
    for_blocks(y.numel(), [=](int64_t begin, int64_t end) {
      A factors[kBlock];
      drop.factors(uint64_t(first_index + begin), end - begin, factors);
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) {
        const A value = A(from[i]), factor = factors[i - begin];
        put(to[i], factor > 0 ? value * factor : A(0));
      }
    });
  });
}

}  // namespace limpid
