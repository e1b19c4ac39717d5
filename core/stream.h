#pragma once

#include <memory>

#include "core/device.h"

namespace limpid {

namespace cuda {
class Queue;
}

// Order on a device: work given to one Stream runs in the order given. On the CPU it runs at once,
// on the threads that OpenMP has; results do not depend on how many those are. On a GPU it runs
// later: synchronize() of core/memory.h waits.
class Stream {
 public:
  // Throws Error where this program has no such device.
  Stream(Device device = Device::cpu);
  Stream(Stream&&) noexcept;
  Stream& operator=(Stream&&) noexcept;
  ~Stream();

  Device device = Device::cpu;
  double flops = 0;  // of matmuls and attention given to it so far

  // What the CUDA backend keeps for this stream; on Device::cuda only.
  cuda::Queue& queue() const { return *queue_; }

 private:
  struct Close {
    void operator()(cuda::Queue*) const;
  };
  std::unique_ptr<cuda::Queue, Close> queue_;
};

}  // namespace limpid
