#pragma once

#include "core/stream.h"
#include "core/tensor.h"

namespace limpid {

// Sums in f64 over fixed blocks of 4096 elements, the blocks in one binary tree: the bits do not
// depend on threads. out: (1) f64 = , x: any floating tensor.
void sum(Stream&, Tensor out, Tensor x);
void sum_squares(Stream&, Tensor out, Tensor x);

// out (2) u64 += a 128-bit fingerprint of x, any dtype: sums over its elements, so that pieces of a
// tensor, each with the index of its first element, add up to the whole in any order. key: the
// tensor's name and the step, mixed. All arithmetic is on u64, modulo 2^64; with bits[i] the stored
// bits of element i, zero-extended:
//   h = (key + (first_index + i) * 0x9e3779b97f4a7c15) ^ bits[i]
//   h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9
//   h = (h ^ (h >> 27)) * 0x94d049bb133111eb
//   h = h ^ (h >> 31)
//   out[0] += h
//   out[1] += h * ((h >> 32) | 1)
void digest(Stream&, Tensor out, Tensor x, uint64_t key, int64_t first_index);

}  // namespace limpid
