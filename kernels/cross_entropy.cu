#include "kernels/cross_entropy.h"
#include "kernels/cuda/elements.h"
#include "kernels/cuda/math.h"
#include "kernels/cuda/reduce.h"

namespace limpid::cuda {
namespace {

constexpr int kThreads = 512, kWarps = kThreads / kWarp;
constexpr int kKept = 8;  // packs of a row that a thread keeps in registers; it reads others again

template <class T>
struct Rows {
  float* loss;
  T* logits;
  const int32_t* targets;
  int V;
  float scale;
};

// A pack as whole registers: the compiler would take it apart into values, for which there is no
// room.
template <class T, int kSize>
using Bits = std::conditional_t<kSize == 1, Pack<T, 1>, Pack<uint32_t, kSize* int(sizeof(T)) / 4>>;

template <class T, int kSize, class B>
__device__ Values<kSize> widen_bits(const B& bits) {
  const auto pack = std::bit_cast<Pack<T, kSize>>(bits);
  Values<kSize> out;
#pragma unroll
  for (int i = 0; i < kSize; ++i) out.at[i] = widen(pack.at[i]);
  return out;
}

// sum exp(x) = e^max * sum, of what one thread has seen.
template <class T>
struct LogSum {
  float max = -3.402823466e38f, sum = 0;

  template <int kSize>
  __device__ void add(const Values<kSize>& x) {
    float top = x.at[0];
#pragma unroll
    for (int i = 1; i < kSize; ++i) top = fmaxf(top, x.at[i]);
    if (top > max) {
      sum *= exp<T>(max - top);
      max = top;
    }
#pragma unroll
    for (int i = 0; i < kSize; ++i) sum += exp<T>(x.at[i] - max);
  }
};

// The packs of a row that are the running thread's, the first of them kept.
template <class T, int kSize>
class Packs {
 public:
  __device__ Packs(const T* row, int V) : row_(row), V_(V) {
#pragma unroll
    for (int k = 0; k < kKept; ++k)
      if (column(k) < V) kept_[k] = std::bit_cast<Bits<T, kSize>>(load<kSize>(row + column(k)));
  }
  // f(values, column) for each.
  template <class F>
  __device__ void for_each(F f) const {
#pragma unroll
    for (int k = 0; k < kKept; ++k)
      if (column(k) < V_) f(widen_bits<T, kSize>(kept_[k]), column(k));
#pragma unroll 1
    for (int k = kKept; column(k) < V_; ++k) f(load_values<kSize>(row_ + column(k)), column(k));
  }

 private:
  __device__ static int column(int k) { return (k * kThreads + int(threadIdx.x)) * kSize; }

  const T* row_;
  int V_;
  Bits<T, kSize> kept_[kKept];
};

// One block has one row. kBackward: logits become their gradient.
template <int kSize, bool kBackward, class T>
__global__ void __launch_bounds__(kThreads, 2) cross_entropy_kernel(Rows<T> a) {
  const int64_t r = blockIdx.x;
  T* row = a.logits + r * a.V;
  const int target = a.targets[r];
  if (target < 0) {
    if (threadIdx.x == 0) a.loss[r] = 0;
    if constexpr (kBackward)
      for (int c = int(threadIdx.x) * kSize; c < a.V; c += kThreads * kSize)
        store_values(row + c, Values<kSize>());
    return;
  }

  const Packs<T, kSize> packs(row, a.V);
  const float wanted = widen(row[target]);  // read before anyone writes
  LogSum<T> mine;
  packs.for_each([&](const Values<kSize>& x, int) { mine.add(x); });
  const float max = block_reduce<kThreads>(mine.max, shared_memory<float>(), Max());
  const float sum = block_sum<kThreads>(mine.sum * exp<T>(mine.max - max),
                                        shared_memory<float>(kWarps * int(sizeof(float))));
  if (threadIdx.x == 0) a.loss[r] = logf(sum) + (max - wanted);
  if constexpr (!kBackward) return;

  const float factor = a.scale / sum;
  packs.for_each([&](const Values<kSize>& x, int column) {
    store_values(row + column, each([&](float value) { return factor * exp<T>(value - max); }, x));
  });
  if (target / kSize % kThreads == int(threadIdx.x))  // who has written it, writes it once more
    row[target] = narrow<T>(factor * exp<T>(wanted - max) - a.scale);
}

template <bool kBackward>
void run(Stream& stream, Tensor loss, Tensor logits, Tensor targets, float scale) {
  with_gpu_dtype(logits.dtype, [&]<class T>() {
    const Rows<T> a = {.loss = loss.as<float>(),
                       .logits = logits.as<T>(),
                       .targets = targets.as<const int32_t>(),
                       .V = int(logits.cols()),
                       .scale = scale};
    with_width<T>(
        a.V,
        [&]<int kSize>() {
          launch(stream,
                 {kBackward ? "cross_entropy_backward" : "cross_entropy_forward", logits.rows(),
                  kThreads, 2 * kWarps * int64_t(sizeof(float))},
                 cross_entropy_kernel<kSize, kBackward, T>, a);
        },
        a.logits);
  });
}

}  // namespace

void cross_entropy_forward(Stream& stream, Tensor loss, Tensor logits, Tensor targets) {
  run<false>(stream, loss, logits, targets, 0);
}

void cross_entropy_backward(Stream& stream, Tensor loss, Tensor logits, Tensor targets,
                            float scale) {
  run<true>(stream, loss, logits, targets, scale);
}

}  // namespace limpid::cuda
