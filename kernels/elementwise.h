#pragma once

#include "core/random.h"
#include "core/stream.h"
#include "core/tensor.h"

namespace limpid {

// y = a + b. y may be a or b.
void add(Stream&, Tensor y, Tensor a, Tensor b);
// y *= factor.
void scale(Stream&, Tensor y, float factor);

// y = keep ? x / (1 - p) : 0 (Srivastava et al. 2014). Element i of x is kept as word (first_index
// + i) of `mask` says, so the mask depends on where an element stands in the whole batch and on
// nothing else. y may be x. Its own backward: dx from dy.
void dropout(Stream&, Tensor y, Tensor x, float p, const Random& mask, int64_t first_index);

// The same on a GPU (core/cuda.h says why they are weak), after the checks of those above.
namespace cuda {
[[gnu::weak]] void add(Stream&, Tensor y, Tensor a, Tensor b);
[[gnu::weak]] void scale(Stream&, Tensor y, float factor);
[[gnu::weak]] void dropout(Stream&, Tensor y, Tensor x, float p, const Random& mask,
                           int64_t first_index);
}  // namespace cuda

}  // namespace limpid
