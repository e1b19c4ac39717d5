#include "checkpoint/digest.h"

#include <vector>

#include "core/memory.h"
#include "core/random.h"
#include "kernels/reduce.h"

namespace limpid {

uint64_t digest_key(std::string_view name) { return Random(0, name).key(); }

void add_digests(Stream& stream, Tensor out, std::span<const NamedTensor> tensors) {
  std::vector<Digested> parts;
  for (const NamedTensor& tensor : tensors)
    parts.push_back({tensor.tensor, digest_key(tensor.name), 0});
  digest(stream, out, parts);
}

std::string digest_text(const uint64_t sums[2]) {
  return format("{:016x}{:016x}", sums[1], sums[0]);
}

std::string parameter_digest(Stream& stream, std::span<const NamedTensor> tensors) {
  const Buffer buffer(stream.device, 2 * sizeof(uint64_t), "digest");
  const Tensor sums = buffer.tensor(0, {2}, DType::u64);
  add_digests(stream, sums, tensors);
  Buffer host;
  return digest_text(on_host(stream, sums, host).as<const uint64_t>());
}

}  // namespace limpid
