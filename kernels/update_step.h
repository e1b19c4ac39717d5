#pragma once

#include "core/random.h"
#include "kernels/update.h"

// The arithmetic of an optimizer's step on one element, in the type A of the update: the CPU's and
// the GPU's kernels call it.
namespace limpid {

// The scalars of Adam, divisions done.
template <class A>
struct AdamStep {
  A lr, beta1, beta2, rest1, rest2, unbias1, unbias2, eps;

  explicit AdamStep(const Adam& a)
      : lr(A(a.lr)),
        beta1(A(a.beta1)),
        beta2(A(a.beta2)),
        rest1(A(1 - a.beta1)),
        rest2(A(1 - a.beta2)),
        unbias1(A(1 / a.correction1)),
        unbias2(A(1 / a.correction2)),
        eps(A(a.eps)) {}

  constexpr void move(A& m, A& v, A g) const {
    m = beta1 * m + rest1 * g;
    v = beta2 * v + rest2 * g * g;
  }
  // root: of v * unbias2.
  constexpr A direction(A p, A m, A root, A decay) const {
    return m * unbias1 / (root + eps) + decay * p;
  }
};

template <class A>
struct LarsStep {
  A momentum;
  constexpr void move(A& p, A& m, A g, A rate, A decay) const {
    m = momentum * m + rate * (g + decay * p);
    p -= m;
  }
};

// The step is along d + ahead * m: the moment alone, or Nesterov's d + momentum * m.
template <class A>
struct SgdStep {
  A lr, momentum, now, ahead;

  explicit SgdStep(const Momentum& step)
      : lr(A(step.lr)),
        momentum(A(step.momentum)),
        now(step.nesterov ? A(1) : A(0)),
        ahead(step.nesterov ? momentum : A(1)) {}

  constexpr void move(A& p, A& m, A g, A decay) const {
    const A d = g + decay * p;
    m = momentum * m + d;
    p -= lr * (now * d + ahead * m);
  }
};

// LAMB's learning rate of a tensor, from sum p^2 and sum u^2.
constexpr double lamb_rate(double lr, bool adapt, double p_root, double u_root) {
  return adapt && p_root > 0 && u_root > 0 ? lr * (p_root / u_root) : lr;
}
// LARS's, from |p| and |g| after clipping.
constexpr double lars_rate(const Momentum& step, bool adapt, double decay, double p_norm,
                           double g_norm) {
  if (!(adapt && p_norm > 0 && g_norm > 0)) return step.lr;
  return step.trust * p_norm / (g_norm + decay * p_norm + step.eps) * step.lr;
}

// The words by which elements 2j and 2j + 1 of a tensor are rounded at random.
constexpr std::array<uint32_t, 4> rounding_words(uint64_t key, uint64_t step, int64_t j) {
  return philox({uint32_t(j), uint32_t(uint64_t(j) >> 32), uint32_t(step), uint32_t(step >> 32)},
                key);
}
// 16 bits for each of p, m and v: of the first two words for an even element, else the last two.
struct RoundingBits {
  uint32_t p, m, v;
  constexpr RoundingBits(const std::array<uint32_t, 4>& words, bool odd)
      : p((odd ? words[2] : words[0]) & 0xffffu),
        m((odd ? words[2] : words[0]) >> 16),
        v((odd ? words[3] : words[1]) & 0xffffu) {}
};
// The bits of a bf16 that has those of an f32 rounded away from zero with the probability that the
// bits lost are of a whole; bf16 values, infinities and NaN stay.
constexpr uint16_t rounded_at_random(uint32_t f32, uint32_t random) {
  if ((f32 & 0x7fffffffu) > 0x7f800000u) return uint16_t((f32 >> 16) | 0x40u);
  return uint16_t((f32 + random) >> 16);
}

}  // namespace limpid
