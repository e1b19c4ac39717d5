#pragma once

#include "core/device.h"

namespace limpid {

// Order on a device: work given to one Stream runs in the order given. On the CPU it runs at once,
// on the threads that OpenMP has; results do not depend on how many those are.
struct Stream {
  Device device = Device::cpu;
  double flops = 0;  // of matmuls and attention given to it so far
};

}  // namespace limpid
