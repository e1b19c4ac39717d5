#pragma once

#include "kernels/matmul.h"

// For the CUDA backend's own sources only.
namespace limpid::cuda {

// matmul() through cuBLASLt, K > 0. Returns false where the bias is still to be added: cuBLASLt
// adds one of c's dtype that begins on 16 bytes, in the product's own kernel.
bool product(Stream&, Tensor c, Tensor a, Tensor b, const Matmul&);

}  // namespace limpid::cuda
