#include "kernels/update.h"

#include <cmath>

#include "kernels/check.h"
#include "kernels/put.h"
#include "kernels/tree_sum.h"
#include "kernels/update_step.h"

namespace limpid {
namespace {

enum Moments { kOne, kTwo };

// Throws Error unless all tensors of a parameter fit together.
void check(std::span<const UpdateTensors> all, Tensor clip, Moments moments, bool reads_gradient) {
  for (const UpdateTensors& t : all) {
    const DType dtype = accum_dtype(t.p.dtype);
    require_like(t.m, t.p, "m", "p");
    if (moments == kTwo) require_like(t.v, t.p, "v", "p");
    if (reads_gradient) require_tensor(t.g, dtype, t.p.shape, "g");
    require(!t.copy || t.copy.shape == t.p.shape, "copy is {}, p is {}", t.copy.shape, t.p.shape);
    require(!t.copy || t.p.dtype == dtype, "p is {}, which has no copy", t.p.dtype);
    if (clip) require_vector(clip, dtype, 1, "clip");
  }
}

void check_norms(Tensor norms, std::span<const UpdateTensors> all) {
  require_vector(norms, DType::f64, 2 * int64_t(all.size()), "norms");
}

// Calls f(tensors, i, factor on gradients) for each tensor, the factor in the type of the update;
// for none where the factor is NaN.
template <class F>
void for_tensors(std::span<const UpdateTensors> all, Tensor clip, F f) {
  const auto call = [&]<class A>(size_t i, A) {
    const A factor = clip ? *clip.as<const A>() : A(1);
    if (!std::isnan(factor)) f(all[i], i, factor);
  };
  for (size_t i = 0; i < all.size(); ++i)
    all[i].p.dtype == DType::f64 ? call(i, double(0)) : call(i, float(0));
}

// A block of one parameter's tensors in the type of the update.
template <class A>
struct Block {
  A *p, *m, *v;
  const A* g;
  int64_t count;
};

// f(Block<float>) for elements [begin, end) of tensors in bf16, widened, then rounded at random.
template <class F>
void update_bf16(const UpdateTensors& t, uint64_t step, int64_t begin, int64_t end, F f) {
  const int64_t count = end - begin;
  const std::array<const Tensor*, 3> stored = {&t.p, &t.m, &t.v};
  float wide[3][kBlock];
  for (size_t k = 0; k < 3; ++k)
    if (*stored[k])
      for (int64_t i = 0; i < count; ++i) wide[k][i] = stored[k]->as<const bf16>()[begin + i];
  f(Block<float>{wide[0], wide[1], wide[2], t.g ? t.g.as<const float>() + begin : nullptr, count});
  for (int64_t i = 0; i < count; i += 2) {
    const auto words = rounding_words(t.key, step, (begin + i) / 2);
    for (int64_t j = i; j < std::min(count, i + 2); ++j) {
      const RoundingBits random(words, j % 2);
      const std::array<uint32_t, 3> bits = {random.p, random.m, random.v};
      for (size_t k = 0; k < 3; ++k)
        if (*stored[k])
          stored[k]->as<bf16>()[begin + j].bits =
              rounded_at_random(std::bit_cast<uint32_t>(wide[k][j]), bits[k]);
    }
  }
}

// f(Block<A>) for elements [begin, end); after it, while they are in cache, their copy.
template <class A, class F>
void update_block(const UpdateTensors& t, uint64_t step, int64_t begin, int64_t end, F f) {
  if constexpr (std::is_same_v<A, float>)
    if (t.p.dtype == DType::bf16) return update_bf16(t, step, begin, end, f);
  f(Block<A>{t.p.as<A>() + begin, t.m.as<A>() + begin, t.v ? t.v.as<A>() + begin : nullptr,
             t.g ? t.g.as<const A>() + begin : nullptr, end - begin});
  if (!t.copy) return;
  with_dtype(t.copy.dtype, [&]<class T>() {
    T* to = t.copy.as<T>();
    const A* from = t.p.as<const A>();
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) put(to[i], from[i]);
  });
}

template <class A, class F>
void update_blocks(const UpdateTensors& t, uint64_t step, F f) {
  for_blocks(t.p.numel(),
             [=](int64_t begin, int64_t end) { update_block<A>(t, step, begin, end, f); });
}

}  // namespace

void adamw_update(Stream& stream, std::span<const UpdateTensors> all, Tensor clip,
                  const Adam& adam) {
  check(all, clip, kTwo, true);
  if (stream.device == Device::cuda) return cuda::adamw_update(stream, all, clip, adam);
  for_tensors(all, clip, [&]<class A>(const UpdateTensors& t, size_t, A factor) {
    const AdamStep<A> step(adam);
    const A decay = A(t.decay);
    update_blocks<A>(t, adam.step, [=](const Block<A>& b) {
      A *p = b.p, *m = b.m, *v = b.v;
      const A* g = b.g;
#pragma omp simd
      for (int64_t i = 0; i < b.count; ++i) {
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
  for_tensors(all, clip, [&]<class A>(UpdateTensors t, size_t k, A factor) {
    const AdamStep<A> step(adam);
    const A decay = A(t.decay);
    t.copy = {};  // p does not move
    const auto sums = tree_sum<2>(t.p.numel(), [=](int64_t begin, int64_t end) {
      std::array<double, 2> out;
      update_block<A>(t, adam.step, begin, end, [&](const Block<A>& b) {
        A u[kBlock];
        A *m = b.m, *v = b.v;
        const A *p = b.p, *g = b.g;
#pragma omp simd
        for (int64_t i = 0; i < b.count; ++i) {
          step.move(m[i], v[i], factor * g[i]);
          u[i] = step.direction(p[i], m[i], std::sqrt(v[i] * step.unbias2), decay);
        }
        out = {block_squares(p, b.count), block_squares(u, b.count)};
      });
      return out;
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
    update_blocks<A>(t, adam.step, [=](const Block<A>& b) {
      A* p = b.p;
      const A *m = b.m, *v = b.v;
#pragma omp simd
      for (int64_t i = 0; i < b.count; ++i)
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
    update_blocks<A>(t, momentum.step, [=](const Block<A>& b) {
      A *p = b.p, *m = b.m;
      const A* g = b.g;
#pragma omp simd
      for (int64_t i = 0; i < b.count; ++i) step.move(p[i], m[i], factor * g[i], rate, decay);
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
    update_blocks<A>(t, momentum.step, [=](const Block<A>& b) {
      A *p = b.p, *m = b.m;
      const A* g = b.g;
#pragma omp simd
      for (int64_t i = 0; i < b.count; ++i) step.move(p[i], m[i], factor * g[i], decay);
    });
  });
}

}  // namespace limpid
