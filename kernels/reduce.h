#pragma once

#include "core/stream.h"
#include "core/tensor.h"

namespace limpid {

// Sums in f64 over fixed blocks of 4096 elements, the blocks in one binary tree: the bits do not
// depend on threads. out: (1) f64 = , x: any floating tensor.
void sum(Stream&, Tensor out, Tensor x);
void sum_squares(Stream&, Tensor out, Tensor x);

// out (2) u64 += a 128-bit fingerprint of x: the sum over elements of mix(key, first_index + i,
// bits of element i). Order-free, so that any split of a tensor into pieces adds up to the same;
// every rank adds its own elements.
void digest(Stream&, Tensor out, Tensor x, uint64_t key, int64_t first_index);

}  // namespace limpid
