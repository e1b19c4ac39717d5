#include <numbers>

#include "kernels/activation.h"
#include "kernels/cuda/elements.h"
#include "kernels/cuda/math.h"
#include "kernels/math.h"

namespace limpid::cuda {
namespace {

// x * sigmoid(2 u), as kernels/activation.cc has it.
template <class T>
struct GeluTanh {
  static constexpr float kTwice =
      2 * std::numbers::sqrt2_v<float> * std::numbers::inv_sqrtpi_v<float>;
  static constexpr float kCubic = 0.044715f;

  __device__ static float value(float x) {
    return x * sigmoid<T>(kTwice * (x + kCubic * x * x * x));
  }
  // Flat beyond 30, where the products below would overflow; NaN stays.
  __device__ static float slope(float x) {
    const float z = x < -30 ? -30 : x > 30 ? 30 : x;
    const float s = sigmoid<T>(kTwice * (z + kCubic * z * z * z));
    return s + z * s * (1 - s) * (kTwice * (1 + 3 * kCubic * z * z));
  }
};

// x * Phi(x), as math::normal() has it.
template <class T>
struct GeluExact {
  __device__ static float value(float x) { return x * cumulative(x, exp<T>(-0.5f * x * x)); }
  __device__ static float slope(float x) {
    const float e = exp<T>(-0.5f * x * x);
    return cumulative(x, e) + x * (e * 0.398942280f);
  }

 private:
  __device__ static float cumulative(float x, float e) {
    const float tail = e * math::normal_tail(fminf(fabsf(x), 5));
    return x > 0 ? 1 - tail : tail;
  }
};

template <class Gelu>
struct Value {
  __device__ float operator()(float x) const { return Gelu::value(x); }
};
template <class Gelu>
struct Slope {
  __device__ float operator()(float dy, float x) const { return dy * Gelu::slope(x); }
};

// A block has a row at a time.
template <int kSize, class T>
__global__ void __launch_bounds__(kElementThreads)
    swiglu_forward_kernel(T* y, const T* x, int64_t rows, int64_t F) {
  for (int64_t r = blockIdx.x; r < rows; r += gridDim.x)
    for (int64_t f = int64_t(threadIdx.x) * kSize; f < F; f += kElementThreads * kSize) {
      const T* gate = x + 2 * r * F + f;
      const auto value = [](float g, float u) { return g * sigmoid<T>(g) * u; };
      store_values(y + r * F + f,
                   each(value, load_values<kSize>(gate), load_values<kSize>(gate + F)));
    }
}

template <int kSize, class T>
__global__ void __launch_bounds__(kElementThreads)
    swiglu_backward_kernel(T* dx, const T* dy, const T* x, int64_t rows, int64_t F) {
  for (int64_t r = blockIdx.x; r < rows; r += gridDim.x)
    for (int64_t f = int64_t(threadIdx.x) * kSize; f < F; f += kElementThreads * kSize) {
      const int64_t at = 2 * r * F + f;
      const auto gate = load_values<kSize>(x + at), up = load_values<kSize>(x + at + F);
      const auto grad = load_values<kSize>(dy + r * F + f);
      Values<kSize> dgate, dup;
#pragma unroll
      for (int i = 0; i < kSize; ++i) {
        const float g = gate.at[i], d = grad.at[i], s = sigmoid<T>(g);
        dgate.at[i] = d * up.at[i] * s * (1 + g * (1 - s));
        dup.at[i] = d * g * s;
      }
      store_values(dx + at, dgate);
      store_values(dx + at + F, dup);
    }
}

int64_t blocks_for_rows(Stream& stream, int64_t rows) {
  return blocks_for(stream, rows * kElementThreads, kElementThreads);
}

}  // namespace

void gelu_forward(Stream& stream, Tensor y, Tensor x, Gelu kind) {
  with_gpu_dtype(x.dtype, [&]<class T>() {
    const auto run = [&](auto f) {
      map(stream, "gelu_forward", y.as<T>(), x.numel(), f, x.as<const T>());
    };
    kind == Gelu::tanh ? run(Value<GeluTanh<T>>()) : run(Value<GeluExact<T>>());
  });
}

void gelu_backward(Stream& stream, Tensor dx, Tensor dy, Tensor x, Gelu kind) {
  with_gpu_dtype(x.dtype, [&]<class T>() {
    const auto run = [&](auto f) {
      map(stream, "gelu_backward", dx.as<T>(), x.numel(), f, dy.as<const T>(), x.as<const T>());
    };
    kind == Gelu::tanh ? run(Slope<GeluTanh<T>>()) : run(Slope<GeluExact<T>>());
  });
}

void swiglu_forward(Stream& stream, Tensor y, Tensor x) {
  with_gpu_dtype(x.dtype, [&]<class T>() {
    with_width<T>(
        y.cols(),
        [&]<int kSize>() {
          launch(stream, {"swiglu_forward", blocks_for_rows(stream, y.rows()), kElementThreads},
                 swiglu_forward_kernel<kSize, T>, y.as<T>(), x.as<const T>(), y.rows(), y.cols());
        },
        y.as<T>(), x.as<T>());
  });
}

void swiglu_backward(Stream& stream, Tensor dx, Tensor dy, Tensor x) {
  with_gpu_dtype(x.dtype, [&]<class T>() {
    with_width<T>(
        dy.cols(),
        [&]<int kSize>() {
          launch(stream, {"swiglu_backward", blocks_for_rows(stream, dy.rows()), kElementThreads},
                 swiglu_backward_kernel<kSize, T>, dx.as<T>(), dy.as<const T>(), x.as<const T>(),
                 dy.rows(), dy.cols());
        },
        dx.as<T>(), dy.as<T>(), x.as<T>());
  });
}

}  // namespace limpid::cuda
