#pragma once

#include <span>
#include <string>

#include "checkpoint/state.h"
#include "core/stream.h"

namespace limpid {

// 128 bits over every element of every tensor, as 32 hex digits: the sum of digest() of
// kernels/reduce.h, keyed by the tensors' names. It does not depend on the order of tensors, or on
// how they are cut over ranks.
std::string parameter_digest(Stream&, std::span<const NamedTensor>);
// The key of a tensor's name.
uint64_t digest_key(std::string_view name);

}  // namespace limpid
