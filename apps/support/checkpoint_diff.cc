#include "apps/support/checkpoint_diff.h"

#include <cmath>
#include <cstring>
#include <map>

#include "checkpoint/load.h"
#include "core/log.h"
#include "core/memory.h"

namespace limpid {
namespace {

// How two tensors of the same shape differ.
std::string difference(const CheckpointReader& a, const CheckpointReader& b,
                       const std::string& file, const ManifestTensor& tensor) {
  const Buffer memory(Device::cpu, 2 * aligned(tensor.bytes()), tensor.name);
  const Tensor one = memory.tensor(0, tensor.shape, tensor.dtype);
  const Tensor two = memory.tensor(aligned(tensor.bytes()), tensor.shape, tensor.dtype);
  a.read_some(file, std::vector<NamedTensor>{{tensor.name, one}});
  b.read_some(file, std::vector<NamedTensor>{{tensor.name, two}});
  if (std::memcmp(one.data, two.data, size_t(tensor.bytes())) == 0) return "";
  return with_dtype(tensor.dtype, [&]<class T>() {
    double most = 0, squares = 0, size = 0;
    int64_t others = 0;
    for (int64_t i = 0; i < one.numel(); ++i) {
      const double x = double(one.as<T>()[i]), d = double(two.as<T>()[i]) - x;
      others += std::memcmp(one.as<T>() + i, two.as<T>() + i, sizeof(T)) != 0;
      most = std::max(most, std::abs(d));
      squares += d * d, size += x * x;
    }
    return format("{} of {} elements differ, by {:.3g} at most, {:.3g} of the norm", others,
                  one.numel(), most, std::sqrt(squares / std::max(size, 1e-300)));
  });
}

}  // namespace

void print_difference(const Path& first, const Path& second) {
  const CheckpointReader a(first), b(second);
  int64_t same = 0, other = 0;
  for (const char* file : {kModel, kOptimizer}) {
    std::map<std::string, ManifestTensor> tensors;
    for (const ManifestTensor& tensor : b.manifest().file(file).tensors)
      tensors[tensor.name] = tensor;
    for (const ManifestTensor& tensor : a.manifest().file(file).tensors) {
      const auto found = tensors.find(tensor.name);
      std::string line;
      if (found == tensors.end())
        line = "only in the first";
      else if (found->second.shape != tensor.shape || found->second.dtype != tensor.dtype)
        line = format("{} {} against {} {}", tensor.dtype, tensor.shape, found->second.dtype,
                      found->second.shape);
      else
        line = difference(a, b, file, tensor);
      if (found != tensors.end()) tensors.erase(found);
      line.empty() ? ++same : ++other;
      if (!line.empty()) log("{:<13} {:<44} {}", file, tensor.name, line);
    }
    for (const auto& [name, tensor] : tensors) {
      ++other;
      log("{:<13} {:<44} only in the second", file, name);
    }
  }
  log("{} tensors are the same to the bit, {} are not", same, other);
}

}  // namespace limpid
