#include "kernels/activation.h"

#include <algorithm>
#include <numbers>

#include "kernels/check.h"
#include "kernels/math.h"
#include "kernels/put.h"
#include "kernels/split.h"

namespace limpid {
namespace {

// x * (1 + tanh(u)) / 2 = x * sigmoid(2 u), u = sqrt(2 / pi) * (x + 0.044715 x^3).
struct GeluTanh {
  template <class A>
  static constexpr A kTwice = 2 * std::numbers::sqrt2_v<A>* std::numbers::inv_sqrtpi_v<A>;
  template <class A>
  static constexpr A kCubic = A(0.044715);

  template <class A>
  static A value(A x) {
    return x * math::sigmoid(kTwice<A> * (x + kCubic<A> * x * x * x));
  }
  // Flat beyond 30, where the products below would overflow.
  template <class A>
  static A slope(A x) {
    const A z = std::min(std::max(x, A(-30)), A(30));
    const A s = math::sigmoid(kTwice<A> * (z + kCubic<A> * z * z * z));
    return s + z * s * (1 - s) * (kTwice<A> * (1 + 3 * kCubic<A> * z * z));
  }
};

struct GeluExact {
  template <class A>
  static A value(A x) {
    return x * math::normal(x).cumulative;
  }
  template <class A>
  static A slope(A x) {
    const auto n = math::normal(x);
    return n.cumulative + x * n.density;
  }
};

// y = f(x), element by element.
template <class F>
void forward(Tensor y, Tensor x) {
  with_dtype(x.dtype, [&]<class T>() {
    T* to = y.as<T>();
    const T* from = x.as<const T>();
    for_blocks(x.numel(), [=](int64_t begin, int64_t end) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) put(to[i], F::value(Accum<T>(from[i])));
    });
  });
}

// dx = dy * f'(x)
template <class F>
void backward(Tensor dx, Tensor dy, Tensor x) {
  with_dtype(x.dtype, [&]<class T>() {
    using A = Accum<T>;
    T* to = dx.as<T>();
    const T *grad = dy.as<const T>(), *from = x.as<const T>();
    for_blocks(x.numel(), [=](int64_t begin, int64_t end) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) put(to[i], A(grad[i]) * F::slope(A(from[i])));
    });
  });
}

// Throws Error unless x is y with twice the columns.
void check_swiglu(Tensor y, Tensor x, std::string_view y_name) {
  Shape need = y.shape;
  if (need.rank()) need[-1] *= 2;
  require(need.rank() > 0 && x.dtype == y.dtype && x.shape == need,
          "x is {} {}, need {} {}: twice the columns of {}", x.dtype, x.shape, y.dtype, need,
          y_name);
}

}  // namespace

void gelu_forward(Stream& stream, Tensor y, Tensor x, Gelu kind) {
  require_like(y, x, "y", "x");
  if (stream.device == Device::cuda) return cuda::gelu_forward(stream, y, x, kind);
  kind == Gelu::tanh ? forward<GeluTanh>(y, x) : forward<GeluExact>(y, x);
}

void gelu_backward(Stream& stream, Tensor dx, Tensor dy, Tensor x, Gelu kind) {
  require_like(dx, x, "dx", "x");
  require_like(dy, x, "dy", "x");
  if (stream.device == Device::cuda) return cuda::gelu_backward(stream, dx, dy, x, kind);
  kind == Gelu::tanh ? backward<GeluTanh>(dx, dy, x) : backward<GeluExact>(dx, dy, x);
}

void swiglu_forward(Stream& stream, Tensor y, Tensor x) {
  check_swiglu(y, x, "y");
  if (stream.device == Device::cuda) return cuda::swiglu_forward(stream, y, x);
  with_dtype(x.dtype, [&]<class T>() {
    using A = Accum<T>;
    const int64_t F = y.cols();
    for_rows(y.rows(), 2 * F, [=](int64_t r) {
      const T *gate = x.as<const T>() + 2 * r * F, *up = gate + F;
      T* to = y.as<T>() + r * F;
#pragma omp simd
      for (int64_t f = 0; f < F; ++f) {
        const A g = A(gate[f]);
        put(to[f], g * math::sigmoid(g) * A(up[f]));
      }
    });
  });
}

void swiglu_backward(Stream& stream, Tensor dx, Tensor dy, Tensor x) {
  check_swiglu(dy, x, "dy");
  require_like(dx, x, "dx", "x");
  if (stream.device == Device::cuda) return cuda::swiglu_backward(stream, dx, dy, x);
  with_dtype(x.dtype, [&]<class T>() {
    using A = Accum<T>;
    const int64_t F = dy.cols();
    for_rows(dy.rows(), 2 * F, [=](int64_t r) {
      const T *gate = x.as<const T>() + 2 * r * F, *up = gate + F;
      const T* grad = dy.as<const T>() + r * F;
      T *dgate = dx.as<T>() + 2 * r * F, *dup = dgate + F;
#pragma omp simd
      for (int64_t f = 0; f < F; ++f) {
        const A g = A(gate[f]), u = A(up[f]), d = A(grad[f]), s = math::sigmoid(g);
        put(dgate[f], d * u * s * (1 + g * (1 - s)));
        put(dup[f], d * g * s);
      }
    });
  });
}

}  // namespace limpid
