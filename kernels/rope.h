#pragma once

#include "core/stream.h"
#include "core/tensor.h"

namespace limpid {

// LLaMA 3's stretching of long wavelengths; factor 1 is none.
struct RopeScaling {
  double factor = 1;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  int64_t original_context = 8192;
};

// Fills table (T,2,D/2) f32 (f64 for f64 models) in the host's memory with cos, then sin, of
// position * theta^(-2j/D), angles in f64, positions from 0 (Su et al. 2021, arXiv:2104.09864);
// scaling as in Llama 3.1.
void rope_table(Tensor table, double theta, const RopeScaling&);

// Rotates the first `rotated` heads of qkv in place: dims (j, j + D/2) of a head by the angle of
// its position, which is first_position + t.   qkv: (B,T,N,D)   table: (Tmax,2,D/2). Throws Error
// where first_position + T > Tmax.
void rope_forward(Stream&, Tensor qkv, Tensor table, int64_t rotated, int64_t first_position);
// The inverse rotation, in place: the gradient.
void rope_backward(Stream&, Tensor dqkv, Tensor table, int64_t rotated, int64_t first_position);

// The same on a GPU (core/cuda.h says why they are weak), after the checks of those above.
namespace cuda {
[[gnu::weak]] void rope_forward(Stream&, Tensor qkv, Tensor table, int64_t rotated,
                                int64_t first_position);
[[gnu::weak]] void rope_backward(Stream&, Tensor dqkv, Tensor table, int64_t rotated,
                                 int64_t first_position);
}  // namespace cuda

}  // namespace limpid
