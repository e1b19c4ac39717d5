#pragma once

#include "core/stream.h"
#include "core/tensor.h"

namespace limpid {

struct Matmul {
  bool transpose_a = false;  // a is stored (K,M)
  bool transpose_b = false;  // b is stored (N,K), as the weight of a Linear is
  bool accumulate = false;   // c += instead of c =
  Tensor bias = {};          // (N), added to every row of c; or empty
};

// c = op(a) op(b) + bias, sums in the accumulator's type. Tensors of more dims are seen as matrices
// (matrix()): rows are all dims but the last.   c: (M,N)   a: (M,K)   b: (K,N), or stored
// transposed. a and b are of one floating dtype; c is of that dtype or of its accumulator's. Every
// element of c is one sum over K in an order that depends on the shape alone, never on the number
// of threads (on a GPU, see kernels/choices.h). Throws Error where shapes or dtypes do not fit.
void matmul(Stream&, Tensor c, Tensor a, Tensor b, const Matmul& = {});

// db += the sum of dy over its rows.   db: (N) in the accumulator's dtype   dy: (M,N)
void bias_backward(Stream&, Tensor db, Tensor dy);

// What this machine reaches at most: oneDNN's f32 product of two n x n matrices on all threads, the
// best of `repeats`, in GFLOP/s (2 n^3 operations).
double gemm_rate_gflops(int64_t n, int repeats);
// The same of the stream's device: on a GPU, matmul() in bf16.
double gemm_rate_gflops(Stream&, int64_t n, int repeats);

// The same on a GPU (core/cuda.h says why they are weak), after the checks of those above.
namespace cuda {
[[gnu::weak]] void matmul(Stream&, Tensor c, Tensor a, Tensor b, const Matmul&);
[[gnu::weak]] void bias_backward(Stream&, Tensor db, Tensor dy);
}  // namespace cuda

}  // namespace limpid
