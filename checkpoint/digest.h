#pragma once

#include <span>
#include <string>

#include "checkpoint/state.h"
#include "core/stream.h"

namespace limpid {

// out (2) u64 += digest() of kernels/reduce.h over every element of every tensor, keyed by the
// tensors' names. It does not depend on the order of tensors, or on how they are cut over ranks.
void add_digests(Stream&, Tensor out, std::span<const NamedTensor>);
// As 32 hex digits.
std::string digest_text(const uint64_t sums[2]);
// Both at once, from zero.
std::string parameter_digest(Stream&, std::span<const NamedTensor>);
// The key of a tensor's name.
uint64_t digest_key(std::string_view name);

}  // namespace limpid
