#pragma once

#include "kernels/attention.h"

// attention_forward() and attention_backward() through cuDNN, for the CUDA backend's own sources
// only. Weak, because the kernels run without it too.
namespace limpid::cuda {

// False, and nothing done, where cuDNN has no plan for it: documents, dropout, f32, heads of a size
// it does not know; and in a captured step that did not run before.
[[gnu::weak]] bool cudnn_attention_forward(Stream&, Tensor o, Tensor lse, Tensor qkv,
                                           Tensor document_start, const Attention&);
// deterministic: the same bits from the same input, at the price of B H T T bf16 of work space.
[[gnu::weak]] bool cudnn_attention_backward(Stream&, Tensor dqkv, Tensor dout, Tensor o, Tensor lse,
                                            Tensor qkv, Tensor document_start, const Attention&,
                                            bool deterministic);

}  // namespace limpid::cuda
