#pragma once

#include <span>

#include "core/stream.h"
#include "core/tensor.h"

namespace limpid {

// Sums in f64 over fixed blocks of 4096 elements, the blocks in one binary tree: the bits do not
// depend on threads. out: (1) f64 = , x: any floating tensor. On a GPU a block's own elements are
// added in another order than on the CPU.
void sum(Stream&, Tensor out, Tensor x);
void sum_squares(Stream&, Tensor out, Tensor x);
// out (n) f64 = , one for each of n tensors.
void sum_squares(Stream&, Tensor out, std::span<const Tensor> xs);

inline constexpr uint64_t kDigestStride = 0x9e3779b97f4a7c15u;

// What digest() reads: a tensor of any dtype, a key (of the tensor's name and the step, mixed) and
// the index that the tensor's first element has in the whole that it is a piece of.
struct Digested {
  Tensor tensor;
  uint64_t key = 0;
  int64_t first_index = 0;
};

// out (2) u64 += a 128-bit fingerprint of tensors: sums over their elements, so that pieces of a
// tensor add up to the whole in any order. All arithmetic is on u64, modulo 2^64; with bits[i] the
// stored bits of element i, zero-extended:
//   h = (key + (first_index + i) * 0x9e3779b97f4a7c15) ^ bits[i]
//   h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9
//   h = (h ^ (h >> 27)) * 0x94d049bb133111eb
//   h = h ^ (h >> 31)
//   out[0] += h
//   out[1] += h * ((h >> 32) | 1)
void digest(Stream&, Tensor out, std::span<const Digested>);

// norm = sqrt(squares[0] + squares[1] + ...); factor = min(1, limit / (norm + 1e-6)), or 1 where
// limit is 0 (Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063), but NaN where norm or loss is not
// finite: kernels/update.h says what becomes of that. No step needs the host to look.
// factor: (1) f32 or f64   norm: (1) f64   squares: (n) f64   loss: (1) f64.
void clip_factor(Stream&, Tensor factor, Tensor norm, Tensor squares, Tensor loss, double limit);

// The same on a GPU (core/cuda.h says why they are weak), after the checks of those above.
namespace cuda {
[[gnu::weak]] void sum(Stream&, Tensor out, std::span<const Tensor> xs);
[[gnu::weak]] void sum_squares(Stream&, Tensor out, std::span<const Tensor> xs);
[[gnu::weak]] void digest(Stream&, Tensor out, std::span<const Digested>);
[[gnu::weak]] void clip_factor(Stream&, Tensor factor, Tensor norm, Tensor squares, Tensor loss,
                               double limit);
}  // namespace cuda

}  // namespace limpid
