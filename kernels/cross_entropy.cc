#include "kernels/cross_entropy.h"

#include <cmath>
#include <limits>

#include "kernels/check.h"
#include "kernels/math.h"
#include "kernels/put.h"
#include "kernels/split.h"

namespace limpid {
namespace {

// sum exp(x) = e^max * sum
template <class A>
struct LogSum {
  A max, sum;
};

// One read of the row: each chunk is summed under the highest value so far while it is in cache.
template <class T, class A = Accum<T>>
LogSum<A> log_sum(const T* x, int64_t V) {
  constexpr int64_t kChunk = 1024;
  constexpr A kLowest = std::numeric_limits<A>::lowest();
  LogSum<A> total = {kLowest, 0};
  for (int64_t begin = 0; begin < V; begin += kChunk) {
    const int64_t end = std::min(V, begin + kChunk);
    A max = total.max, sum = 0;
#pragma omp simd reduction(max : max)
    for (int64_t v = begin; v < end; ++v) max = std::max(max, A(x[v]));
#pragma omp simd reduction(+ : sum)
    for (int64_t v = begin; v < end; ++v) sum += math::exp(A(x[v]) - max);
    total = {max, total.sum * math::exp(total.max - max) + sum};
  }
  return total;
}

template <class T, class A = Accum<T>>
A loss_of(LogSum<A> total, const T* x, int32_t target) {
  return std::log(total.sum) + (total.max - A(x[target]));
}

template <class T, class A = Accum<T>>
A backward_row(T* x, int32_t target, int64_t V, A scale) {
  if (target < 0) {
    std::fill(x, x + V, T(A(0)));
    return 0;
  }
  const LogSum<A> total = log_sum(x, V);
  const A loss = loss_of(total, x, target), factor = scale / total.sum;
  const A at_target = factor * math::exp(A(x[target]) - total.max) - scale;
#pragma omp simd
  for (int64_t v = 0; v < V; ++v) put(x[v], factor * math::exp(A(x[v]) - total.max));
  put(x[target], at_target);
  return loss;
}

void check(Tensor loss, Tensor logits, Tensor targets) {
  require(logits.cols() > 0, "logits are {}, need a vocabulary", logits.shape);
  require_vector(loss, accum_dtype(logits.dtype), logits.rows(), "loss");
  require_vector(targets, DType::i32, logits.rows(), "targets");
}

}  // namespace

void cross_entropy_forward(Stream& stream, Tensor loss, Tensor logits, Tensor targets) {
  check(loss, logits, targets);
  if (stream.device == Device::cuda)
    return cuda::cross_entropy_forward(stream, loss, logits, targets);
  require_ids(targets, -1, logits.cols(), "targets");
  with_dtype(logits.dtype, [&]<class T>() {
    using A = Accum<T>;
    const int64_t V = logits.cols();
    for_rows(logits.rows(), V, [=](int64_t r) {
      const T* x = logits.as<const T>() + r * V;
      const int32_t target = targets.as<const int32_t>()[r];
      loss.as<A>()[r] = target < 0 ? A(0) : loss_of(log_sum(x, V), x, target);
    });
  });
}

void cross_entropy_backward(Stream& stream, Tensor loss, Tensor logits, Tensor targets,
                            float scale) {
  check(loss, logits, targets);
  if (stream.device == Device::cuda)
    return cuda::cross_entropy_backward(stream, loss, logits, targets, scale);
  require_ids(targets, -1, logits.cols(), "targets");
  with_dtype(logits.dtype, [&]<class T>() {
    using A = Accum<T>;
    const int64_t V = logits.cols();
    for_rows(logits.rows(), V, [=](int64_t r) {
      loss.as<A>()[r] =
          backward_row(logits.as<T>() + r * V, targets.as<const int32_t>()[r], V, A(scale));
    });
  });
}

}  // namespace limpid
