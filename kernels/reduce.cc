#include "kernels/reduce.h"

#include "core/random.h"
#include "kernels/check.h"
#include "kernels/tree_sum.h"

namespace limpid {
namespace {

// Adds to sums[0], sums[1] what digest() says of count elements of unsigned type U.
template <class U>
void digest_of(uint64_t* sums, const U* bits, int64_t count, uint64_t key, uint64_t first_index) {
  constexpr uint64_t kStride = 0x9e3779b97f4a7c15u;
  uint64_t low = 0, high = 0;
#pragma omp parallel for schedule(static) reduction(+ : low, high) if (count > kBlock)
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t end = std::min(count, begin + kBlock);
    uint64_t at = key + (first_index + uint64_t(begin)) * kStride;
#pragma omp simd reduction(+ : low, high) linear(at : kStride)
    for (int64_t i = begin; i < end; ++i) {
      const uint64_t mixed = mix64(at ^ uint64_t(bits[i]));
      low += mixed;
      high += mixed * ((mixed >> 32) | 1);
      at += kStride;
    }
  }
  sums[0] += low;
  sums[1] += high;
}

template <class F>
void reduce(Tensor out, Tensor x, F f) {
  require_vector(out, DType::f64, 1, "out");
  with_dtype(x.dtype, [&]<class T>() {
    const T* from = x.as<const T>();
    *out.as<double>() = tree_sum<1>(x.numel(), [=](int64_t begin, int64_t end) {
      return std::array{block_sum(from + begin, end - begin, f)};
    })[0];
  });
}

}  // namespace

void sum(Stream&, Tensor out, Tensor x) {
  reduce(out, x, [](double value) { return value; });
}

void sum_squares(Stream&, Tensor out, Tensor x) {
  reduce(out, x, [](double value) { return value * value; });
}

void digest(Stream&, Tensor out, Tensor x, uint64_t key, int64_t first_index) {
  require_vector(out, DType::u64, 2, "out");
  const auto add = [&]<class U>() {
    digest_of(out.as<uint64_t>(), static_cast<const U*>(x.data), x.numel(), key,
              uint64_t(first_index));
  };
  switch (size_of(x.dtype)) {
    case 1:
      return add.operator()<uint8_t>();
    case 2:
      return add.operator()<uint16_t>();
    case 4:
      return add.operator()<uint32_t>();
    default:
      return add.operator()<uint64_t>();
  }
}

}  // namespace limpid
