#pragma once

#include <vector>

#include "checkpoint/state.h"
#include "core/memory.h"

namespace limpid {

// The tensors of a state where files are read and written: themselves on the CPU, else twins in the
// host's memory.
class Snapshot {
 public:
  // The twins' values are unspecified until take().
  Snapshot(const Stream&, std::vector<NamedTensor> tensors);

  const std::vector<NamedTensor>& on_host() const { return host_; }
  void take(Stream&);            // on_host() = the state, when this returns
  void put_back(Stream&) const;  // the state = on_host()

 private:
  std::vector<NamedTensor> tensors_, host_;
  std::vector<Buffer> twins_;
};

}  // namespace limpid
