#include "checkpoint/digest.h"

#include <array>

#include "core/random.h"
#include "kernels/reduce.h"

namespace limpid {

uint64_t digest_key(std::string_view name) { return Random(0, name).key(); }

std::string parameter_digest(Stream& stream, std::span<const NamedTensor> tensors) {
  std::array<uint64_t, 2> sum = {};
  const Tensor out{sum.data(), {2}, DType::u64};
  for (const NamedTensor& tensor : tensors)
    digest(stream, out, tensor.tensor, digest_key(tensor.name), 0);
  return format("{:016x}{:016x}", sum[1], sum[0]);
}

}  // namespace limpid
