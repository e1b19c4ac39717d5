#include <cmath>

#include "kernels/cuda/tensors.h"
#include "kernels/update.h"
#include "kernels/update_step.h"

namespace limpid::cuda {
namespace {

struct Updated {
  void *p, *copy, *m, *v;
  const float* g;
  int64_t count;
  uint64_t key;
  float decay;
  bool adapt;
};
using Table = TensorTable<Updated>;

__device__ float factor_of(const float* clip) { return clip ? *clip : 1; }

// A rule is an optimizer on one tensor, of which begin() takes what its step() needs: that moves
// one element. It says which tensors it reads and moves beside p; begin() is false where all stay.

struct AdamWRule {
  static constexpr bool kGradient = true, kMoments = true, kSecond = true;
  const float* clip;
  AdamStep<float> adam;
  float factor = 1, decay = 0;

  __device__ bool begin(const Updated& to, int) {
    factor = factor_of(clip), decay = to.decay;
    return !std::isnan(factor);
  }
  __device__ void step(float& p, float& m, float& v, float g) const {
    adam.move(m, v, factor * g);
    p -= adam.lr * adam.direction(p, m, sqrtf(v * adam.unbias2), decay);
  }
};

struct LambRule {
  static constexpr bool kGradient = false, kMoments = false, kSecond = true;
  const double* norms;  // from the table's first tensor on, likewise below
  AdamStep<float> adam;
  double lr;
  float rate = 0, decay = 0;

  __device__ bool begin(const Updated& to, int tensor) {
    const double p_norm = sqrt(norms[2 * tensor]), u_norm = sqrt(norms[2 * tensor + 1]);
    rate = float(lamb_rate(lr, to.adapt, p_norm, u_norm)), decay = to.decay;
    return !std::isnan(p_norm + u_norm);
  }
  __device__ void step(float& p, float& m, float& v, float) const {
    p -= rate * adam.direction(p, m, sqrtf(v * adam.unbias2), decay);
  }
};

struct LarsRule {
  static constexpr bool kGradient = true, kMoments = true, kSecond = false;
  const float* clip;
  const double* norms;
  Momentum momentum;
  LarsStep<float> lars;
  float factor = 1, rate = 0, decay = 0;

  __device__ bool begin(const Updated& to, int tensor) {
    factor = factor_of(clip), decay = to.decay;
    const double p_norm = sqrt(norms[2 * tensor]);
    const double g_norm = sqrt(norms[2 * tensor + 1]) * double(factor);
    rate = float(lars_rate(momentum, to.adapt, double(to.decay), p_norm, g_norm));
    return !std::isnan(factor);
  }
  __device__ void step(float& p, float& m, float&, float g) const {
    lars.move(p, m, factor * g, rate, decay);
  }
};

struct SgdRule {
  static constexpr bool kGradient = true, kMoments = true, kSecond = false;
  const float* clip;
  SgdStep<float> sgd;
  float factor = 1, decay = 0;

  __device__ bool begin(const Updated& to, int) {
    factor = factor_of(clip), decay = to.decay;
    return !std::isnan(factor);
  }
  __device__ void step(float& p, float& m, float&, float g) const {
    sgd.move(p, m, factor * g, decay);
  }
};

// p, m and v of one element as f32, to be stored as S: bf16 by random bits.
template <class S, int kSize>
struct Stored {
  Pack<S, kSize> p, m, v;

  __device__ void store(int k, float new_p, float new_m, float new_v, const RoundingBits& random) {
    if constexpr (std::is_same_v<S, float>) {
      p.at[k] = new_p, m.at[k] = new_m, v.at[k] = new_v;
    } else {
      p.at[k].bits = rounded_at_random(__float_as_uint(new_p), random.p);
      m.at[k].bits = rounded_at_random(__float_as_uint(new_m), random.m);
      v.at[k].bits = rounded_at_random(__float_as_uint(new_v), random.v);
    }
  }
};

// f(k, p, m, v, g) moves the values of element i + k, k < kSize.
template <int kSize, class S, class F>
__device__ void move_pack(Stored<S, kSize>& to, const Pack<float, kSize>& g, const Updated& of,
                          uint64_t step, int64_t i, F f) {
  std::array<uint32_t, 4> words = {};
#pragma unroll
  for (int k = 0; k < kSize; ++k) {
    float p = widen(to.p.at[k]), m = widen(to.m.at[k]), v = widen(to.v.at[k]);
    f(k, p, m, v, g.at[k]);
    if (!std::is_same_v<S, float> && k % 2 == 0) words = rounding_words(of.key, step, (i + k) / 2);
    to.store(k, p, m, v, RoundingBits(words, k % 2));
  }
}

// S: of p, m and v. T: of the copies.
template <class S, class T, class Rule>
__global__ void __launch_bounds__(kTileThreads)
    update_kernel(const Table table, Rule rule, uint64_t step) {
  constexpr int kSize = kWide<S>;
  const Tile tile = tile_of(table, int(blockIdx.x));
  const Updated& to = table.at[tile.tensor];
  if (!rule.begin(to, tile.tensor)) return;
  S *p = static_cast<S*>(to.p), *m = static_cast<S*>(to.m), *v = static_cast<S*>(to.v);
  T* copy = static_cast<T*>(to.copy);
  for_packs<kSize>(tile, [&](int64_t i, int n) {
    Stored<S, kSize> x = {load_part<kSize>(p + i, n), load_part<kSize>(m + i, n), {}};
    Pack<float, kSize> g = {};
    if constexpr (Rule::kSecond) x.v = load_part<kSize>(v + i, n);
    if constexpr (Rule::kGradient) g = load_part<kSize>(to.g + i, n);
    Pack<T, kSize> rounded;
    move_pack<kSize>(x, g, to, step, i, [&](int k, float& p1, float& m1, float& v1, float g1) {
      rule.step(p1, m1, v1, g1);
      rounded.at[k] = narrow<T>(p1);
    });
    store_part(p + i, x.p, n);
    if (copy) store_part(copy + i, rounded, n);
    if constexpr (Rule::kMoments) store_part(m + i, x.m, n);
    if constexpr (Rule::kMoments && Rule::kSecond) store_part(v + i, x.v, n);
  });
}

template <class S>
__global__ void __launch_bounds__(kTileThreads)
    lamb_moments_kernel(double* partials, const Table table, const float* clip,
                        const AdamStep<float> adam, uint64_t step) {
  constexpr int kSize = kWide<S>;
  const Tile tile = tile_of(table, int(blockIdx.x));
  const Updated& to = table.at[tile.tensor];
  S *p = static_cast<S*>(to.p), *m = static_cast<S*>(to.m), *v = static_cast<S*>(to.v);
  const float factor = factor_of(clip);
  double p_squares = 0, u_squares = 0;
  if (std::isnan(factor)) {
    p_squares = u_squares = double(factor);
  } else {
    for_packs<kSize>(tile, [&](int64_t i, int n) {
      Stored<S, kSize> x = {load_part<kSize>(p + i, n), load_part<kSize>(m + i, n),
                            load_part<kSize>(v + i, n)};
      const Pack<float, kSize> g = load_part<kSize>(to.g + i, n);
      move_pack<kSize>(x, g, to, step, i, [&](int k, float& p1, float& m1, float& v1, float g1) {
        adam.move(m1, v1, factor * g1);
        if (k >= n) return;
        const float u = adam.direction(p1, m1, sqrtf(v1 * adam.unbias2), to.decay);
        p_squares += double(p1) * double(p1);
        u_squares += double(u) * double(u);
      });
      store_part(m + i, x.m, n);
      store_part(v + i, x.v, n);
    });
  }
  constexpr int kWords = kTileThreads / kWarp;
  p_squares = block_sum<kTileThreads>(p_squares, shared_memory<double>());
  u_squares = block_sum<kTileThreads>(u_squares, shared_memory<double>() + kWords);
  if (threadIdx.x != 0) return;
  partials[blockIdx.x] = p_squares;
  partials[gridDim.x + blockIdx.x] = u_squares;
}

// f(table, i) for tables of all[i] ..., which are of the same dtypes.
template <class F>
void for_update_tables(std::span<const UpdateTensors> all, F f) {
  for_tables<Updated>(
      all,
      [](const UpdateTensors& t) {
        return std::pair(t.p.dtype, t.copy ? t.copy.dtype : t.p.dtype);
      },
      [](const UpdateTensors& t) {
        return Updated{.p = t.p.data,
                       .copy = t.copy.data,
                       .m = t.m.data,
                       .v = t.v.data,
                       .g = data_of<const float>(t.g),
                       .count = t.p.numel(),
                       .key = t.key,
                       .decay = float(t.decay),
                       .adapt = t.adapt};
      },
      f);
}

// rule_of(i): the rule for a table that begins with all[i].
template <class RuleOf>
void update(Stream& stream, const char* name, std::span<const UpdateTensors> all, uint64_t step,
            RuleOf rule_of) {
  for_update_tables(all, [&](const Table& table, size_t i) {
    const auto start = [&](auto kernel) {
      launch(stream, {name, table.tiles(), kTileThreads}, kernel, table, rule_of(i), step);
    };
    using Rule = decltype(rule_of(i));
    const DType copied = (all[i].copy ? all[i].copy : all[i].p).dtype;
    with_gpu_dtype(all[i].p.dtype, [&]<class S>() {
      if constexpr (std::is_same_v<S, bf16>)
        start(update_kernel<bf16, bf16, Rule>);
      else
        with_gpu_dtype(copied, [&]<class T>() { start(update_kernel<float, T, Rule>); });
    });
  });
}

}  // namespace

void adamw_update(Stream& stream, std::span<const UpdateTensors> all, Tensor clip,
                  const Adam& adam) {
  update(stream, "adamw_update", all, adam.step, [&](size_t) {
    return AdamWRule{.clip = data_of<const float>(clip), .adam = AdamStep<float>(adam)};
  });
}

void lamb_moments(Stream& stream, Tensor norms, std::span<const UpdateTensors> all, Tensor clip,
                  const Adam& adam) {
  for_update_tables(all, [&](const Table& table, size_t i) {
    const int64_t tiles = table.tiles(), bytes = int64_t(sizeof(double));
    double* partials = static_cast<double*>(stream.queue().scratch(2 * tiles * bytes));
    with_gpu_dtype(all[i].p.dtype, [&]<class S>() {
      launch(stream, {"lamb_moments", tiles, kTileThreads, 2 * kTileThreads / kWarp * bytes},
             lamb_moments_kernel<S>, partials, table, data_of<const float>(clip),
             AdamStep<float>(adam), adam.step);
    });
    add_trees(stream, norms.as<double>() + 2 * i, partials, table, 2);
  });
}

void lamb_update(Stream& stream, std::span<const UpdateTensors> all, Tensor norms,
                 const Adam& adam) {
  update(stream, "lamb_update", all, adam.step, [&](size_t i) {
    return LambRule{
        .norms = norms.as<const double>() + 2 * i, .adam = AdamStep<float>(adam), .lr = adam.lr};
  });
}

void lars_update(Stream& stream, std::span<const UpdateTensors> all, Tensor clip, Tensor norms,
                 const Momentum& momentum) {
  update(stream, "lars_update", all, momentum.step, [&](size_t i) {
    return LarsRule{.clip = data_of<const float>(clip),
                    .norms = norms.as<const double>() + 2 * i,
                    .momentum = momentum,
                    .lars = {float(momentum.momentum)}};
  });
}

void sgd_update(Stream& stream, std::span<const UpdateTensors> all, Tensor clip,
                const Momentum& momentum) {
  update(stream, "sgd_update", all, momentum.step, [&](size_t) {
    return SgdRule{.clip = data_of<const float>(clip), .sgd = SgdStep<float>(momentum)};
  });
}

}  // namespace limpid::cuda
