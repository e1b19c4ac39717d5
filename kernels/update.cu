#include <cmath>

#include "kernels/cuda/tensors.h"
#include "kernels/update.h"
#include "kernels/update_step.h"

namespace limpid::cuda {
namespace {

constexpr int kSize = kWide<float>;
using Values = Pack<float, kSize>;

struct Updated {
  float* p;
  void* copy;
  float *m, *v;
  const float* g;
  int64_t count;
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

// T: of the copies.
template <class T, class Rule>
__global__ void __launch_bounds__(kTileThreads) update_kernel(const Table table, Rule rule) {
  const Tile tile = tile_of(table, int(blockIdx.x));
  const Updated& to = table.at[tile.tensor];
  if (!rule.begin(to, tile.tensor)) return;
  T* copy = static_cast<T*>(to.copy);
  for_packs<kSize>(tile, [&](int64_t i, int n) {
    Values p = load_part<kSize>(to.p + i, n), m = load_part<kSize>(to.m + i, n), v = {}, g = {};
    if constexpr (Rule::kSecond) v = load_part<kSize>(to.v + i, n);
    if constexpr (Rule::kGradient) g = load_part<kSize>(to.g + i, n);
    Pack<T, kSize> rounded;
#pragma unroll
    for (int k = 0; k < kSize; ++k) {
      rule.step(p.at[k], m.at[k], v.at[k], g.at[k]);
      rounded.at[k] = narrow<T>(p.at[k]);
    }
    store_part(to.p + i, p, n);
    if (copy) store_part(copy + i, rounded, n);
    if constexpr (Rule::kMoments) store_part(to.m + i, m, n);
    if constexpr (Rule::kMoments && Rule::kSecond) store_part(to.v + i, v, n);
  });
}

__global__ void __launch_bounds__(kTileThreads)
    lamb_moments_kernel(double* partials, const Table table, const float* clip,
                        const AdamStep<float> adam) {
  const Tile tile = tile_of(table, int(blockIdx.x));
  const Updated& to = table.at[tile.tensor];
  const float factor = factor_of(clip);
  double p_squares = 0, u_squares = 0;
  if (std::isnan(factor)) {
    p_squares = u_squares = double(factor);
  } else {
    for_packs<kSize>(tile, [&](int64_t i, int n) {
      const Values p = load_part<kSize>(to.p + i, n), g = load_part<kSize>(to.g + i, n);
      Values m = load_part<kSize>(to.m + i, n), v = load_part<kSize>(to.v + i, n);
#pragma unroll
      for (int k = 0; k < kSize; ++k) {
        adam.move(m.at[k], v.at[k], factor * g.at[k]);
        if (k >= n) continue;
        const float u = adam.direction(p.at[k], m.at[k], sqrtf(v.at[k] * adam.unbias2), to.decay);
        p_squares += double(p.at[k]) * double(p.at[k]);
        u_squares += double(u) * double(u);
      }
      store_part(to.m + i, m, n);
      store_part(to.v + i, v, n);
    });
  }
  constexpr int kWords = kTileThreads / kWarp;
  p_squares = block_sum<kTileThreads>(p_squares, shared_memory<double>());
  u_squares = block_sum<kTileThreads>(u_squares, shared_memory<double>() + kWords);
  if (threadIdx.x != 0) return;
  partials[blockIdx.x] = p_squares;
  partials[gridDim.x + blockIdx.x] = u_squares;
}

// f(table, i) for tables of all[i] ..., in which all copies are of one dtype.
template <class F>
void for_update_tables(std::span<const UpdateTensors> all, F f) {
  for_tables<Updated>(
      all, [](const UpdateTensors& t) { return (t.copy ? t.copy : t.p).dtype; },
      [](const UpdateTensors& t) {
        require(t.p.dtype == DType::f32, "p is {}, need f32 on a GPU", t.p.dtype);
        return Updated{.p = t.p.as<float>(),
                       .copy = t.copy.data,
                       .m = t.m.as<float>(),
                       .v = data_of<float>(t.v),
                       .g = data_of<const float>(t.g),
                       .count = t.p.numel(),
                       .decay = float(t.decay),
                       .adapt = t.adapt};
      },
      f);
}

// rule_of(i): the rule for a table that begins with all[i].
template <class RuleOf>
void update(Stream& stream, const char* name, std::span<const UpdateTensors> all, RuleOf rule_of) {
  for_update_tables(all, [&](const Table& table, size_t i) {
    with_gpu_dtype((all[i].copy ? all[i].copy : all[i].p).dtype, [&]<class T>() {
      launch(stream, {name, table.tiles(), kTileThreads}, update_kernel<T, decltype(rule_of(i))>,
             table, rule_of(i));
    });
  });
}

}  // namespace

void adamw_update(Stream& stream, std::span<const UpdateTensors> all, Tensor clip,
                  const Adam& adam) {
  update(stream, "adamw_update", all, [&](size_t) {
    return AdamWRule{.clip = data_of<const float>(clip), .adam = AdamStep<float>(adam)};
  });
}

void lamb_moments(Stream& stream, Tensor norms, std::span<const UpdateTensors> all, Tensor clip,
                  const Adam& adam) {
  for_update_tables(all, [&](const Table& table, size_t i) {
    const int64_t tiles = table.tiles(), bytes = int64_t(sizeof(double));
    double* partials = static_cast<double*>(stream.queue().scratch(2 * tiles * bytes));
    launch(stream, {"lamb_moments", tiles, kTileThreads, 2 * kTileThreads / kWarp * bytes},
           lamb_moments_kernel, partials, table, data_of<const float>(clip), AdamStep<float>(adam));
    add_trees(stream, norms.as<double>() + 2 * i, partials, table, 2);
  });
}

void lamb_update(Stream& stream, std::span<const UpdateTensors> all, Tensor norms,
                 const Adam& adam) {
  update(stream, "lamb_update", all, [&](size_t i) {
    return LambRule{
        .norms = norms.as<const double>() + 2 * i, .adam = AdamStep<float>(adam), .lr = adam.lr};
  });
}

void lars_update(Stream& stream, std::span<const UpdateTensors> all, Tensor clip, Tensor norms,
                 const Momentum& momentum) {
  update(stream, "lars_update", all, [&](size_t i) {
    return LarsRule{.clip = data_of<const float>(clip),
                    .norms = norms.as<const double>() + 2 * i,
                    .momentum = momentum,
                    .lars = {float(momentum.momentum)}};
  });
}

void sgd_update(Stream& stream, std::span<const UpdateTensors> all, Tensor clip,
                const Momentum& momentum) {
  update(stream, "sgd_update", all, [&](size_t) {
    return SgdRule{.clip = data_of<const float>(clip), .sgd = SgdStep<float>(momentum)};
  });
}

}  // namespace limpid::cuda
