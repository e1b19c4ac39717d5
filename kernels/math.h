#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>

// Transcendental functions for loops over elements: in f32 free of branches and calls, so that the
// compiler turns them into vector code; in f64 those of the standard library.
namespace limpid::math {

// e^x to 1 ulp. Infinite above 88.722, and 0 below -87.336, where f32 would be subnormal.
// x = n ln 2 + r, |r| <= ln(2) / 2, then a polynomial in r whose exponent moves by n.
inline float exp(float x) {
  constexpr float kLowest = -87.3365f, kHighest = 88.7228394f;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the integer in the low bits
  float clamped = x < kLowest ? kLowest : x;
  clamped = clamped > kHighest ? kHighest : clamped;
  const float shifted = clamped * std::numbers::log2e_v<float> + kRound;
  const float n = shifted - kRound;
  const float r = (clamped - n * 0.693145751953125f) - n * 1.42860682030942e-6f;
  float p = 1.392618359e-3f;
  p = p * r + 8.363179053e-3f;
  p = p * r + 4.166655462e-2f;
  p = p * r + 1.666657699e-1f;
  p = p * r + 5e-1f;
  p = r * r * p + r + 1.0f;
  const uint32_t bits = std::bit_cast<uint32_t>(p) + (std::bit_cast<uint32_t>(shifted) << 23);
  const float y = x < kLowest ? 0.0f : std::bit_cast<float>(bits);
  return x <= kHighest ? y : x + std::numeric_limits<float>::infinity();  // keeps NaN
}
inline double exp(double x) { return std::exp(x); }

// 1 / (1 + e^-x)
template <class A>
A sigmoid(A x) {
  return 1 / (1 + exp(-x));
}

// The density and the cumulative distribution of a standard normal.
template <class A>
struct Normal {
  A density, cumulative;
};

// q(a) of Phi(-a) = e^(-a^2 / 2) q(a) for 0 <= a <= 5, a polynomial that fits best where a is small.
constexpr float normal_tail(float a) {
  float q = -3.110117733e-7f;
  q = q * a + 7.645899331e-6f;
  q = q * a - 8.446924952e-5f;
  q = q * a + 0.000563328571f;
  q = q * a - 0.002592412276f;
  q = q * a + 0.009014366804f;
  q = q * a - 0.02549196515f;
  q = q * a + 0.0619449132f;
  q = q * a - 0.13281791f;
  q = q * a + 0.249976207f;
  q = q * a - 0.3989410763f;
  q = q * a + 0.5f;
  return q;
}
// To 1e-7 absolute: past a = 5 the last value of q serves, which is too small an error to count.
inline Normal<float> normal(float x) {
  const float e = exp(-0.5f * x * x), a = std::abs(x);
  const float q = normal_tail(a > 5 ? 5 : a);
  return {e * 0.398942280f, x > 0 ? 1 - e * q : e * q};
}
inline Normal<double> normal(double x) {
  return {std::exp(-0.5 * x * x) * 0.5 * std::numbers::inv_sqrtpi * std::numbers::sqrt2,
          0.5 * std::erfc(-x / std::numbers::sqrt2)};
}

}  // namespace limpid::math
