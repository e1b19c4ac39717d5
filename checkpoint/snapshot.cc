#include "checkpoint/snapshot.h"

#include <utility>

namespace limpid {

Snapshot::Snapshot(const Stream& stream, std::vector<NamedTensor> tensors)
    : tensors_(std::move(tensors)), twins_(tensors_.size()) {
  for (size_t i = 0; i < tensors_.size(); ++i)
    host_.push_back({tensors_[i].name, host_twin(stream, tensors_[i].tensor, twins_[i])});
}

void Snapshot::take(Stream& stream) {
  for (size_t i = 0; i < host_.size(); ++i) copy(stream, host_[i].tensor, tensors_[i].tensor);
  synchronize(stream);
}

void Snapshot::put_back(Stream& stream) const {
  for (size_t i = 0; i < host_.size(); ++i) copy(stream, tensors_[i].tensor, host_[i].tensor);
  synchronize(stream);
}

}  // namespace limpid
