#pragma once

#include <numbers>

#include "tests/reference/array.h"

namespace limpid::reference {

// The angle by which a position turns pair j of D / 2. Llama 3.1 stretches long waves by `factor`.
struct Angle {
  double theta = 10000, factor = 1, low = 1, high = 4, context = 8192;

  double operator()(int64_t position, int64_t j, int64_t D) const {
    double frequency = std::pow(theta, -2.0 * double(j) / double(D));
    const double wavelength = 2 * std::numbers::pi / frequency;
    if (wavelength > context / low) {
      frequency /= factor;
    } else if (wavelength >= context / high) {
      const double smooth = (context / wavelength - low) / (high - low);
      frequency = (1 - smooth) * frequency / factor + smooth * frequency;
    }
    return double(position) * frequency;
  }
};

// x, y: (B,T,N,D); the first `rotated` of N heads turn as complex numbers (x[j], x[j + D/2]) do.
template <class S>
Array<S> rope(const Array<S>& x, const Angle& angle, int64_t rotated, int64_t first_position) {
  const int64_t T = x.shape[1], N = x.shape[2], D = x.shape[3];
  Array<S> y = x;
  for (int64_t b = 0; b < x.shape[0]; ++b)
    for (int64_t t = 0; t < T; ++t)
      for (int64_t h = 0; h < std::min(rotated, N); ++h)
        for (int64_t j = 0; j < D / 2; ++j) {
          const double a = angle(first_position + t, j, D);
          const S u = x(b, t, h, j), v = x(b, t, h, j + D / 2);
          y(b, t, h, j) = std::cos(a) * u - std::sin(a) * v;
          y(b, t, h, j + D / 2) = std::sin(a) * u + std::cos(a) * v;
        }
  return y;
}

}  // namespace limpid::reference
