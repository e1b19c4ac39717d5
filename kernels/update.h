#pragma once

#include <span>

#include "core/stream.h"
#include "core/tensor.h"

// Optimizer steps over many tensors. clip: (1) in the accumulator's dtype, a factor on all
// gradients that a kernel before computed, or empty for 1. Where it is NaN, which clip_factor()
// makes it where a step must not be taken, p, copy, m and v of every tensor stay as they are.
// Scalars are f64 here and are rounded once, where they are used.
//
// p, m and v may be bf16 with no f32 master behind them: then a step is done in f32, and they are
// rounded up or down at random, so that their mean is what f32 would have had (Gupta et al. 2015,
// arXiv:1502.02551). update_step.h says by which random bits; they are the same on every device.
namespace limpid {

// One parameter. p, m, v, g are of one shape, in the accumulator's dtype; p is the master weight.
// copy is the weight as the model computes with it where that is another dtype (bf16), else empty.
// Or p, m, v are bf16, g is f32, and there is no copy.
struct UpdateTensors {
  Tensor p, copy;
  Tensor m, v;  // v: Adam's and LAMB's only
  Tensor g;
  uint64_t key = 0;   // of the random numbers (core/random.h)
  double decay = 0;   // weight decay
  bool adapt = true;  // by a trust ratio; LAMB and LARS only
};

struct Adam {
  double lr = 0, beta1 = 0, beta2 = 0, eps = 0;
  double correction1 = 1;  // 1 - beta1^step
  double correction2 = 1;  // 1 - beta2^step
  uint64_t step = 0;       // of the random numbers, likewise below
};

// AdamW: m, v as in Kingma & Ba 2015; p -= lr * (mhat / (sqrt(vhat) + eps) + decay * p) (Loshchilov
// & Hutter 2019, arXiv:1711.05101).
void adamw_update(Stream&, std::span<const UpdateTensors>, Tensor clip, const Adam&);

// LAMB (You et al. 2020, arXiv:1904.00962) in two passes. The first moves m and v and finds
// norms (n,2) f64 = sum p^2, sum u^2 of each tensor, u = mhat / (sqrt(vhat) + eps) + decay * p,
// blocked and summed as sum_squares does; all NaN where clip is.
void lamb_moments(Stream&, Tensor norms, std::span<const UpdateTensors>, Tensor clip, const Adam&);
// p -= lr * ratio * u, ratio = |p| / |u|, 1 where either is 0 or where adapt is false; p and copy
// stay where a norm is NaN. g is not read.
void lamb_update(Stream&, std::span<const UpdateTensors>, Tensor norms, const Adam&);

struct Momentum {
  double lr = 0, momentum = 0;
  bool nesterov = false;      // SGD only
  double trust = 0, eps = 0;  // LARS only
  uint64_t step = 0;
};

// LARS (You, Gitman & Ginsburg 2017, arXiv:1708.03888): ratio = trust * |p| / (|g| + decay * |p| +
// eps), 1 where adapt is false or either norm is 0, g and |g| after clipping; m = momentum * m +
// ratio * lr * (g + decay * p); p -= m.   norms: (n,2) f64, sum p^2, sum g^2 before clipping.
void lars_update(Stream&, std::span<const UpdateTensors>, Tensor clip, Tensor norms,
                 const Momentum&);
// SGD: m = momentum * m + g + decay * p; p -= lr * m, or lr * (g + decay * p + momentum * m) with
// Nesterov's look ahead (Sutskever et al. 2013).
void sgd_update(Stream&, std::span<const UpdateTensors>, Tensor clip, const Momentum&);

// The same on a GPU (core/cuda.h says why they are weak), after the checks of those above.
namespace cuda {
[[gnu::weak]] void adamw_update(Stream&, std::span<const UpdateTensors>, Tensor clip, const Adam&);
[[gnu::weak]] void lamb_moments(Stream&, Tensor norms, std::span<const UpdateTensors>, Tensor clip,
                                const Adam&);
[[gnu::weak]] void lamb_update(Stream&, std::span<const UpdateTensors>, Tensor norms, const Adam&);
[[gnu::weak]] void lars_update(Stream&, std::span<const UpdateTensors>, Tensor clip, Tensor norms,
                               const Momentum&);
[[gnu::weak]] void sgd_update(Stream&, std::span<const UpdateTensors>, Tensor clip,
                              const Momentum&);
}  // namespace cuda

}  // namespace limpid
