#pragma once

#include "kernels/attention.h"

// limpid's own attention, one of the implementations that the CUDA twin of an op may choose from.
// Every shape that the contract allows with D <= 256 and a scale above 0.
namespace limpid::cuda {

// Queries at positions first, first + 1 ... see keys and values from 0 on.   q: (B,N,H..,D), whose
// first H heads count   lse: (B,H,N), or empty   keys, values: (B,S,..,D) from heads key_head and
// value_head on; S at least first + N
struct FlashKeys {
  Tensor keys, values;
  int64_t key_head = 0, value_head = 0;
  int64_t first = 0;
};
void flash_forward(Stream&, Tensor o, Tensor lse, Tensor q, const FlashKeys&, Tensor document_start,
                   const Attention&);
void flash_backward(Stream&, Tensor dqkv, Tensor dout, Tensor o, Tensor lse, Tensor qkv,
                    Tensor document_start, const Attention&);

}  // namespace limpid::cuda
