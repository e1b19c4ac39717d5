#pragma once

#include <cmath>

#include "tests/reference/array.h"

// Optimizer steps as plain loops over one tensor, in f64; g is already clipped.
namespace limpid::reference {

struct AdamStep {
  double lr, beta1, beta2, eps, decay;
  int step;  // from 1
};

// Moves m and v; returns mhat / (sqrt(vhat) + eps) + decay * p.
inline Array<double> adam_direction(const Array<double>& p, Array<double>& m, Array<double>& v,
                                    const Array<double>& g, const AdamStep& a) {
  Array<double> u(p.shape);
  for (int64_t i = 0; i < p.numel(); ++i) {
    m[i] = a.beta1 * m[i] + (1 - a.beta1) * g[i];
    v[i] = a.beta2 * v[i] + (1 - a.beta2) * g[i] * g[i];
    const double m_hat = m[i] / (1 - std::pow(a.beta1, a.step));
    const double v_hat = v[i] / (1 - std::pow(a.beta2, a.step));
    u[i] = m_hat / (std::sqrt(v_hat) + a.eps) + a.decay * p[i];
  }
  return u;
}

inline double norm(const Array<double>& x) {
  double squares = 0;
  for (double value : x.data) squares += value * value;
  return std::sqrt(squares);
}

inline void adamw(Array<double>& p, Array<double>& m, Array<double>& v, const Array<double>& g,
                  const AdamStep& a) {
  const Array<double> u = adam_direction(p, m, v, g, a);
  for (int64_t i = 0; i < p.numel(); ++i) p[i] -= a.lr * u[i];
}

inline void lamb(Array<double>& p, Array<double>& m, Array<double>& v, const Array<double>& g,
                 bool adapt, const AdamStep& a) {
  const Array<double> u = adam_direction(p, m, v, g, a);
  const bool scaled = adapt && norm(p) > 0 && norm(u) > 0;
  const double ratio = scaled ? norm(p) / norm(u) : 1;
  for (int64_t i = 0; i < p.numel(); ++i) p[i] -= a.lr * ratio * u[i];
}

struct MomentumStep {
  double lr, momentum, decay;
  bool nesterov = false;
  double trust = 0, eps = 0;
};

inline void lars(Array<double>& p, Array<double>& m, const Array<double>& g, bool adapt,
                 const MomentumStep& s) {
  const bool scaled = adapt && norm(p) > 0 && norm(g) > 0;
  const double ratio = scaled ? s.trust * norm(p) / (norm(g) + s.decay * norm(p) + s.eps) : 1;
  for (int64_t i = 0; i < p.numel(); ++i) {
    m[i] = s.momentum * m[i] + ratio * s.lr * (g[i] + s.decay * p[i]);
    p[i] -= m[i];
  }
}

inline void sgd(Array<double>& p, Array<double>& m, const Array<double>& g, const MomentumStep& s) {
  for (int64_t i = 0; i < p.numel(); ++i) {
    const double d = g[i] + s.decay * p[i];
    m[i] = s.momentum * m[i] + d;
    p[i] -= s.lr * (s.nesterov ? d + s.momentum * m[i] : m[i]);
  }
}

}  // namespace limpid::reference
