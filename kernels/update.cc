#include "kernels/update.h"

#include <cmath>

#include "kernels/check.h"
#include "kernels/put.h"
#include "kernels/tree_sum.h"

namespace limpid {
namespace {

// Throws Error unless all are f32, or all f64, of one shape.
void check(Tensor p, std::initializer_list<Tensor> others) {
  require(p.dtype == DType::f32 || p.dtype == DType::f64, "p is {}, need f32 or f64", p.dtype);
  for (const Tensor& other : others) require_like(other, p, "a moment or gradient", "p");
}

void check_copy(Tensor copy, Tensor p) {
  require(!copy || copy.shape == p.shape, "copy is {}, p is {}", copy.shape, p.shape);
}

// Calls f with a zero of the type of p.
template <class F>
void with_master(Tensor p, F f) {
  p.dtype == DType::f64 ? f(double(0)) : f(float(0));
}

template <class A>
A factor_of(Tensor clip) {
  if (!clip) return 1;
  require_vector(clip, dtype_of<A>, 1, "clip");
  return *clip.as<const A>();
}

// f(begin, end) for all blocks of p; after each, while it is in cache, its copy.
template <class A, class F>
void update_blocks(Tensor p, Tensor copy, F f) {
  for_blocks(p.numel(), [=](int64_t begin, int64_t end) {
    f(begin, end);
    if (!copy) return;
    with_dtype(copy.dtype, [&]<class T>() {
      T* to = copy.as<T>();
      const A* from = p.as<const A>();
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) put(to[i], from[i]);
    });
  });
}

// The scalars of Adam in the type of the update, divisions done.
template <class A>
struct AdamScalars {
  A beta1, beta2, rest1, rest2, unbias1, unbias2, eps, decay;

  AdamScalars(const Adam& a)
      : beta1(A(a.beta1)),
        beta2(A(a.beta2)),
        rest1(A(1 - a.beta1)),
        rest2(A(1 - a.beta2)),
        unbias1(A(1 / a.correction1)),
        unbias2(A(1 / a.correction2)),
        eps(A(a.eps)),
        decay(A(a.decay)) {}

  void move(A& m, A& v, A g) const {
    m = beta1 * m + rest1 * g;
    v = beta2 * v + rest2 * g * g;
  }
  A direction(A p, A m, A v) const {
    return m * unbias1 / (std::sqrt(v * unbias2) + eps) + decay * p;
  }
};

}  // namespace

void adamw_update(Stream&, Tensor p, Tensor copy, Tensor m, Tensor v, Tensor g, Tensor clip,
                  const Adam& adam) {
  check(p, {m, v, g});
  check_copy(copy, p);
  with_master(p, [&]<class A>(A) {
    const AdamScalars<A> scalars(adam);
    const A lr = A(adam.lr), factor = factor_of<A>(clip);
    A *to = p.as<A>(), *m1 = m.as<A>(), *m2 = v.as<A>();
    const A* grad = g.as<const A>();
    update_blocks<A>(p, copy, [=](int64_t begin, int64_t end) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) {
        scalars.move(m1[i], m2[i], factor * grad[i]);
        to[i] -= lr * scalars.direction(to[i], m1[i], m2[i]);
      }
    });
  });
}

void lamb_moments(Stream&, Tensor norms, Tensor p, Tensor m, Tensor v, Tensor g, Tensor clip,
                  const Adam& adam) {
  check(p, {m, v, g});
  require_vector(norms, DType::f64, 2, "norms");
  with_master(p, [&]<class A>(A) {
    const AdamScalars<A> scalars(adam);
    const A factor = factor_of<A>(clip);
    A *m1 = m.as<A>(), *m2 = v.as<A>();
    const A *from = p.as<const A>(), *grad = g.as<const A>();
    const auto sums = tree_sum<2>(p.numel(), [=](int64_t begin, int64_t end) {
      A u[kBlock];
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) {
        scalars.move(m1[i], m2[i], factor * grad[i]);
        u[i - begin] = scalars.direction(from[i], m1[i], m2[i]);
      }
      return std::array{block_squares(from + begin, end - begin), block_squares(u, end - begin)};
    });
    std::copy(sums.begin(), sums.end(), norms.as<double>());
  });
}

void lamb_update(Stream&, Tensor p, Tensor copy, Tensor m, Tensor v, Tensor norms, bool adapt,
                 const Adam& adam) {
  check(p, {m, v});
  check_copy(copy, p);
  require_vector(norms, DType::f64, 2, "norms");
  const double* sums = norms.as<const double>();
  const bool scaled = adapt && sums[0] > 0 && sums[1] > 0;
  const double ratio = scaled ? std::sqrt(sums[0]) / std::sqrt(sums[1]) : 1;
  with_master(p, [&]<class A>(A) {
    const AdamScalars<A> scalars(adam);
    const A rate = A(adam.lr * ratio);
    A* to = p.as<A>();
    const A *m1 = m.as<const A>(), *m2 = v.as<const A>();
    update_blocks<A>(p, copy, [=](int64_t begin, int64_t end) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) to[i] -= rate * scalars.direction(to[i], m1[i], m2[i]);
    });
  });
}

void lars_update(Stream&, Tensor p, Tensor copy, Tensor m, Tensor g, Tensor clip, Tensor norms,
                 bool adapt, const Momentum& step) {
  check(p, {m, g});
  check_copy(copy, p);
  require_vector(norms, DType::f64, 2, "norms");
  with_master(p, [&]<class A>(A) {
    const A factor = factor_of<A>(clip);
    const double p_norm = std::sqrt(norms.as<const double>()[0]);
    const double g_norm = std::sqrt(norms.as<const double>()[1]) * double(factor);
    const bool scaled = adapt && p_norm > 0 && g_norm > 0;
    const double below = g_norm + step.decay * p_norm + step.eps;
    const double ratio = scaled ? step.trust * p_norm / below : 1;
    const A rate = A(ratio * step.lr), momentum = A(step.momentum), decay = A(step.decay);
    A *to = p.as<A>(), *velocity = m.as<A>();
    const A* grad = g.as<const A>();
    update_blocks<A>(p, copy, [=](int64_t begin, int64_t end) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) {
        velocity[i] = momentum * velocity[i] + rate * (factor * grad[i] + decay * to[i]);
        to[i] -= velocity[i];
      }
    });
  });
}

void sgd_update(Stream&, Tensor p, Tensor copy, Tensor m, Tensor g, Tensor clip,
                const Momentum& step) {
  check(p, {m, g});
  check_copy(copy, p);
  with_master(p, [&]<class A>(A) {
    const A factor = factor_of<A>(clip);
    const A lr = A(step.lr), momentum = A(step.momentum), decay = A(step.decay);
    // The step is along d + ahead * m: the moment alone, or Nesterov's d + momentum * m.
    const A now = step.nesterov ? A(1) : A(0), ahead = step.nesterov ? momentum : A(1);
    A *to = p.as<A>(), *velocity = m.as<A>();
    const A* grad = g.as<const A>();
    update_blocks<A>(p, copy, [=](int64_t begin, int64_t end) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) {
        const A d = factor * grad[i] + decay * to[i];
        velocity[i] = momentum * velocity[i] + d;
        to[i] -= lr * (now * d + ahead * velocity[i]);
      }
    });
  });
}

}  // namespace limpid
