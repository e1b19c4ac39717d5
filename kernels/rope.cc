#include "kernels/rope.h"

#include <cmath>
#include <numbers>
#include <vector>

#include "kernels/put.h"
#include "kernels/split.h"

namespace limpid {
namespace {

// Llama 3.1: short waves stay, waves longer than the original context stretch by `factor`, between
// them the two blend.
double scaled(double frequency, const RopeScaling& s) {
  if (s.factor == 1) return frequency;
  const double turns = double(s.original_context) * frequency / (2 * std::numbers::pi);
  if (turns > s.high_freq_factor) return frequency;
  if (turns < s.low_freq_factor) return frequency / s.factor;
  const double share = (turns - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
  return (1 - share) * frequency / s.factor + share * frequency;
}

void check(Tensor x, Tensor table, int64_t rotated, int64_t first_position) {
  require(x.shape.rank() == 4, "qkv is {}, need (B,T,N,D)", x.shape);
  const int64_t T = x.shape[1], N = x.shape[2], D = x.shape[3], half = D / 2;
  require(D % 2 == 0 && 0 <= rotated && rotated <= N, "cannot rotate {} heads of qkv {}", rotated,
          x.shape);
  require(table.dtype == accum_dtype(x.dtype) && table.shape.rank() == 3 && table.shape[1] == 2 &&
              table.shape[2] == half,
          "table is {} {}, need {} (Tmax,2,{})", table.dtype, table.shape, accum_dtype(x.dtype),
          half);
  require(0 <= first_position && first_position + T <= table.shape[0],
          "positions {} to {} are beyond the table's {}: raise the model's context", first_position,
          first_position + T, table.shape[0]);
}

// Rotates forwards for sign 1, backwards for sign -1.
void rotate(Tensor x, Tensor table, int64_t rotated, int64_t first_position, int sign) {
  const int64_t T = x.shape[1], N = x.shape[2], D = x.shape[3], half = D / 2;
  with_dtype(x.dtype, [&]<class S>() {
    using A = Accum<S>;
    for_rows(x.shape[0] * T, N * D, [=](int64_t row) {
      const A* cos = table.as<const A>() + (first_position + row % T) * D;
      const A* sin = cos + half;
      for (int64_t h = 0; h < rotated; ++h) {
        S* a = x.as<S>() + (row * N + h) * D;
        S* b = a + half;
#pragma omp simd
        for (int64_t j = 0; j < half; ++j) {
          const A u = A(a[j]), v = A(b[j]), s = A(sign) * sin[j];
          put(a[j], u * cos[j] - v * s);
          put(b[j], v * cos[j] + u * s);
        }
      }
    });
  });
}

}  // namespace

void rope_table(Tensor table, double theta, const RopeScaling& scaling) {
  require(table.shape.rank() == 3 && table.shape[1] == 2, "table is {}, need (T,2,D/2)",
          table.shape);
  require(theta > 0 && scaling.factor > 0 && scaling.low_freq_factor < scaling.high_freq_factor,
          "rope needs theta > 0, factor > 0 and low_freq_factor < high_freq_factor, not {}, {}, {} "
          "and {}",
          theta, scaling.factor, scaling.low_freq_factor, scaling.high_freq_factor);
  const int64_t half = table.shape[2];
  std::vector<double> frequencies;
  for (int64_t j = 0; j < half; ++j)
    frequencies.push_back(scaled(std::pow(theta, -double(j) / double(half)), scaling));
  const auto fill = [&]<class A>(A* out) {
    for_rows(table.shape[0], 2 * half, [&](int64_t t) {
      for (int64_t j = 0; j < half; ++j) {
        const double angle = double(t) * frequencies[size_t(j)];
        out[t * 2 * half + j] = A(std::cos(angle));
        out[t * 2 * half + half + j] = A(std::sin(angle));
      }
    });
  };
  if (table.dtype == DType::f64) return fill(table.as<double>());
  require(table.dtype == DType::f32, "table is {}, need f32 or f64", table.dtype);
  fill(table.as<float>());
}

void rope_forward(Stream& stream, Tensor qkv, Tensor table, int64_t rotated,
                  int64_t first_position) {
  check(qkv, table, rotated, first_position);
  if (stream.device == Device::cuda)
    return cuda::rope_forward(stream, qkv, table, rotated, first_position);
  rotate(qkv, table, rotated, first_position, 1);
}

void rope_backward(Stream& stream, Tensor dqkv, Tensor table, int64_t rotated,
                   int64_t first_position) {
  check(dqkv, table, rotated, first_position);
  if (stream.device == Device::cuda)
    return cuda::rope_backward(stream, dqkv, table, rotated, first_position);
  rotate(dqkv, table, rotated, first_position, -1);
}

}  // namespace limpid
