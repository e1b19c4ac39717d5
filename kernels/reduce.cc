#include "kernels/reduce.h"

#include <cmath>

#include "core/random.h"
#include "kernels/check.h"
#include "kernels/tree_sum.h"

namespace limpid {
namespace {

// Adds to sums[0], sums[1] what digest() says of count elements of unsigned type U.
template <class U>
void digest_of(uint64_t* sums, const U* bits, int64_t count, uint64_t key, uint64_t first_index) {
  uint64_t low = 0, high = 0;
#pragma omp parallel for schedule(static) reduction(+ : low, high) if (count > kBlock)
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t end = std::min(count, begin + kBlock);
    uint64_t at = key + (first_index + uint64_t(begin)) * kDigestStride;
#pragma omp simd reduction(+ : low, high) linear(at : kDigestStride)
    for (int64_t i = begin; i < end; ++i) {
      const uint64_t mixed = mix64(at ^ uint64_t(bits[i]));
      low += mixed;
      high += mixed * ((mixed >> 32) | 1);
      at += kDigestStride;
    }
  }
  sums[0] += low;
  sums[1] += high;
}

template <class F>
double reduced(Tensor x, F f) {
  return with_dtype(x.dtype, [&]<class T>() {
    const T* from = x.as<const T>();
    return tree_sum<1>(x.numel(), [=](int64_t begin, int64_t end) {
      return std::array{block_sum(from + begin, end - begin, f)};
    })[0];
  });
}

}  // namespace

void sum(Stream& stream, Tensor out, Tensor x) {
  require_vector(out, DType::f64, 1, "out");
  if (stream.device == Device::cuda) return cuda::sum(stream, out, {&x, 1});
  *out.as<double>() = reduced(x, [](double value) { return value; });
}

void sum_squares(Stream& stream, Tensor out, Tensor x) {
  sum_squares(stream, out, std::span<const Tensor>(&x, 1));
}

void sum_squares(Stream& stream, Tensor out, std::span<const Tensor> xs) {
  require_vector(out, DType::f64, int64_t(xs.size()), "out");
  if (stream.device == Device::cuda) return cuda::sum_squares(stream, out, xs);
  for (size_t i = 0; i < xs.size(); ++i)
    out.as<double>()[i] = reduced(xs[i], [](double value) { return value * value; });
}

void digest(Stream& stream, Tensor out, std::span<const Digested> parts) {
  require_vector(out, DType::u64, 2, "out");
  if (stream.device == Device::cuda) return cuda::digest(stream, out, parts);
  for (const Digested& part : parts) {
    const auto add = [&]<class U>() {
      digest_of(out.as<uint64_t>(), static_cast<const U*>(part.tensor.data), part.tensor.numel(),
                part.key, uint64_t(part.first_index));
    };
    switch (size_of(part.tensor.dtype)) {
      case 1:
        add.operator()<uint8_t>();
        break;
      case 2:
        add.operator()<uint16_t>();
        break;
      case 4:
        add.operator()<uint32_t>();
        break;
      default:
        add.operator()<uint64_t>();
    }
  }
}

void clip_factor(Stream& stream, Tensor factor, Tensor norm, Tensor squares, Tensor loss,
                 double limit) {
  require_vector(factor, accum_dtype(factor.dtype), 1, "factor");
  require_vector(norm, DType::f64, 1, "norm");
  require_vector(squares, DType::f64, squares.numel(), "squares");
  require_vector(loss, DType::f64, 1, "loss");
  if (stream.device == Device::cuda)
    return cuda::clip_factor(stream, factor, norm, squares, loss, limit);
  double total = 0;
  for (int64_t i = 0; i < squares.numel(); ++i) total += squares.as<const double>()[i];
  const double length = std::sqrt(total);
  const bool finite = std::isfinite(length) && std::isfinite(*loss.as<const double>());
  const double scale = limit > 0 ? std::min(1.0, limit / (length + 1e-6)) : 1;
  *norm.as<double>() = length;
  with_dtype(factor.dtype, [&]<class T>() { *factor.as<T>() = T(finite ? scale : NAN); });
}

}  // namespace limpid
