#pragma once

#include <cuda_runtime.h>

#include <map>
#include <memory>
#include <typeindex>
#include <vector>

#include "core/error.h"
#include "core/stream.h"

// For the CUDA backend's own sources only.
namespace limpid::cuda {

// Throws Error where a call of the CUDA runtime failed; `what` was being done.
inline void check(cudaError_t status, std::string_view what) {
  require(status == cudaSuccess, "CUDA: {}: {}", what, cudaGetErrorString(status));
}

// What one Stream owns on a GPU.
class Queue {
 public:
  Queue();
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  cudaStream_t stream() const { return stream_; }
  int multiprocessors() const { return multiprocessors_; }
  // Memory that a kernel may use until the next one that asks; 256-byte aligned, with anything in
  // it. Where more is asked for than before it lies elsewhere, and the old one stays for graphs that
  // were recorded with it; that cannot be while a graph is recorded, so run a step once before.
  void* scratch(int64_t bytes);
  // The T of this queue, made from the queue at its first use: library handles and what is kept by
  // shape.
  template <class T>
  T& part() {
    std::shared_ptr<void>& slot = parts_[typeid(T)];
    if (!slot) slot = std::make_shared<T>(*this);
    return *static_cast<T*>(slot.get());
  }

 private:
  cudaStream_t stream_ = nullptr;
  int multiprocessors_ = 0;
  std::vector<void*> scratches_;  // the last one is in use
  int64_t scratch_bytes_ = 0;
  std::map<std::type_index, std::shared_ptr<void>> parts_;
};

}  // namespace limpid::cuda
