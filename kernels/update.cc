#include "kernels/update.h"

#include <cmath>

#include "kernels/check.h"
#include "kernels/put.h"
#include "kernels/tree_sum.h"
#include "kernels/update_step.h"

namespace limpid {
namespace {

enum Moments { kOne, kTwo };

// Throws Error unless all tensors of a parameter are f32, or all f64, of one shape.
void check(std::span<const UpdateTensors> all, Tensor clip, Moments moments, bool reads_gradient) {
  for (const auto& [p, copy, m, v, g, decay, adapt] : all) {
    require(p.dtype == DType::f32 || p.dtype == DType::f64, "p is {}, need f32 or f64", p.dtype);
    require_like(m, p, "m", "p");
    if (moments == kTwo) require_like(v, p, "v", "p");
    if (reads_gradient) require_like(g, p, "g", "p");
    require(!copy || copy.shape == p.shape, "copy is {}, p is {}", copy.shape, p.shape);
    if (clip) require_vector(clip, p.dtype, 1, "clip");
  }
}

void check_norms(Tensor norms, std::span<const UpdateTensors> all) {
  require_vector(norms, DType::f64, 2 * int64_t(all.size()), "norms");
}

// Calls f(tensors, i, factor on gradients) for each tensor, the factor in its type; for none where
// the factor is NaN.
template <class F>
void for_tensors(std::span<const UpdateTensors> all, Tensor clip, F f) {
  for (size_t i = 0; i < all.size(); ++i)
    with_dtype(all[i].p.dtype, [&]<class A>() {
      if constexpr (std::is_same_v<A, Accum<A>>) {
        const A factor = clip ? *clip.as<const A>() : A(1);
        if (!std::isnan(factor)) f(all[i], i, factor);
      }
    });
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

}  // namespace

void adamw_update(Stream& stream, std::span<const UpdateTensors> all, Tensor clip,
                  const Adam& adam) {
  check(all, clip, kTwo, true);
  if (stream.device == Device::cuda) return cuda::adamw_update(stream, all, clip, adam);
  for_tensors(all, clip, [&]<class A>(const UpdateTensors& t, size_t, A factor) {
    const AdamStep<A> step(adam);
    const A decay = A(t.decay);
    A *p = t.p.as<A>(), *m = t.m.as<A>(), *v = t.v.as<A>();
    const A* g = t.g.as<const A>();
    update_blocks<A>(t.p, t.copy, [=](int64_t begin, int64_t end) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) {
        step.move(m[i], v[i], factor * g[i]);
        p[i] -= step.lr * step.direction(p[i], m[i], std::sqrt(v[i] * step.unbias2), decay);
      }
    });
  });
}

void lamb_moments(Stream& stream, Tensor norms, std::span<const UpdateTensors> all, Tensor clip,
                  const Adam& adam) {
  check(all, clip, kTwo, true);
  check_norms(norms, all);
  if (stream.device == Device::cuda) return cuda::lamb_moments(stream, norms, all, clip, adam);
  std::fill_n(norms.as<double>(), norms.numel(), NAN);
  for_tensors(all, clip, [&]<class A>(const UpdateTensors& t, size_t k, A factor) {
    const AdamStep<A> step(adam);
    const A decay = A(t.decay);
    A *m = t.m.as<A>(), *v = t.v.as<A>();
    const A *p = t.p.as<const A>(), *g = t.g.as<const A>();
    const auto sums = tree_sum<2>(t.p.numel(), [=](int64_t begin, int64_t end) {
      A u[kBlock];
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) {
        step.move(m[i], v[i], factor * g[i]);
        u[i - begin] = step.direction(p[i], m[i], std::sqrt(v[i] * step.unbias2), decay);
      }
      return std::array{block_squares(p + begin, end - begin), block_squares(u, end - begin)};
    });
    std::copy(sums.begin(), sums.end(), norms.as<double>() + 2 * k);
  });
}

void lamb_update(Stream& stream, std::span<const UpdateTensors> all, Tensor norms,
                 const Adam& adam) {
  check(all, {}, kTwo, false);
  check_norms(norms, all);
  if (stream.device == Device::cuda) return cuda::lamb_update(stream, all, norms, adam);
  for_tensors(all, {}, [&]<class A>(const UpdateTensors& t, size_t k, A) {
    const double p_norm = std::sqrt(norms.as<const double>()[2 * k]);
    const double u_norm = std::sqrt(norms.as<const double>()[2 * k + 1]);
    if (std::isnan(p_norm + u_norm)) return;
    const AdamStep<A> step(adam);
    const A rate = A(lamb_rate(adam.lr, t.adapt, p_norm, u_norm)), decay = A(t.decay);
    A* p = t.p.as<A>();
    const A *m = t.m.as<const A>(), *v = t.v.as<const A>();
    update_blocks<A>(t.p, t.copy, [=](int64_t begin, int64_t end) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i)
        p[i] -= rate * step.direction(p[i], m[i], std::sqrt(v[i] * step.unbias2), decay);
    });
  });
}

void lars_update(Stream& stream, std::span<const UpdateTensors> all, Tensor clip, Tensor norms,
                 const Momentum& momentum) {
  check(all, clip, kOne, true);
  check_norms(norms, all);
  if (stream.device == Device::cuda) return cuda::lars_update(stream, all, clip, norms, momentum);
  for_tensors(all, clip, [&]<class A>(const UpdateTensors& t, size_t k, A factor) {
    const double p_norm = std::sqrt(norms.as<const double>()[2 * k]);
    const double g_norm = std::sqrt(norms.as<const double>()[2 * k + 1]) * double(factor);
    const A rate = A(lars_rate(momentum, t.adapt, t.decay, p_norm, g_norm)), decay = A(t.decay);
    const LarsStep<A> step{A(momentum.momentum)};
    A *p = t.p.as<A>(), *m = t.m.as<A>();
    const A* g = t.g.as<const A>();
    update_blocks<A>(t.p, t.copy, [=](int64_t begin, int64_t end) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) step.move(p[i], m[i], factor * g[i], rate, decay);
    });
  });
}

void sgd_update(Stream& stream, std::span<const UpdateTensors> all, Tensor clip,
                const Momentum& momentum) {
  check(all, clip, kOne, true);
  if (stream.device == Device::cuda) return cuda::sgd_update(stream, all, clip, momentum);
  for_tensors(all, clip, [&]<class A>(const UpdateTensors& t, size_t, A factor) {
    const SgdStep<A> step(momentum);
    const A decay = A(t.decay);
    A *p = t.p.as<A>(), *m = t.m.as<A>();
    const A* g = t.g.as<const A>();
    update_blocks<A>(t.p, t.copy, [=](int64_t begin, int64_t end) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) step.move(p[i], m[i], factor * g[i], decay);
    });
  });
}

}  // namespace limpid
