#include "core/stream.h"

#include "core/cuda.h"

namespace limpid {

Stream::Stream(Device on) : device(on) {
  if (device == Device::cpu) return;
  require(cuda::linked(),
          "device = \"cuda\", but this build has no CUDA backend: build it with `cmake --preset "
          "cuda`, or take device = \"cpu\"");
  require(cuda::device_count() > 0,
          "device = \"cuda\", but no GPU can be used (nvidia-smi lists what the driver sees); take "
          "device = \"cpu\" or \"auto\"");
  queue_.reset(cuda::open_queue());
}

Stream::Stream(Stream&&) noexcept = default;
Stream& Stream::operator=(Stream&&) noexcept = default;
Stream::~Stream() = default;

void Stream::Close::operator()(cuda::Queue* queue) const { cuda::close_queue(queue); }

}  // namespace limpid
