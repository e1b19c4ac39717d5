#pragma once

#include <cstdint>
#include <string>

#include "core/stream.h"
#include "core/tensor.h"

// The CUDA runtime as the rest of limpid uses it. Declared weak, as are the CUDA twins of the ops:
// a program that is linked without the CUDA backend has none of them, linked() says so, and no
// Tensor of such a program lies on a GPU.
namespace limpid::cuda {

// GPUs that this process may use; 0 where there is none, or no driver for it.
[[gnu::weak]] int device_count();
// As "NVIDIA H200, sm_90, 139.8 GiB".
[[gnu::weak]] std::string describe_device();
// Free bytes of the device's memory.
[[gnu::weak]] int64_t free_bytes();
inline bool linked() { return device_count != nullptr; }
inline bool available() { return linked() && device_count() > 0; }

// Zeroed memory of the device, or null where there is too little.
[[gnu::weak]] void* allocate(int64_t bytes);
[[gnu::weak]] void release(void*);
// Memory of the host that the device copies from and to while the host goes on.
[[gnu::weak]] void* allocate_pinned(int64_t bytes);
[[gnu::weak]] void release_pinned(void*);

[[gnu::weak]] Queue* open_queue();
[[gnu::weak]] void close_queue(Queue*);
[[gnu::weak]] void synchronize(Stream&);
// Events and graphs (core/graph.h).
[[gnu::weak]] void* make_event();
[[gnu::weak]] void free_event(void*);
[[gnu::weak]] void record_event(Stream&, void* event);
[[gnu::weak]] void hold(Stream&, void* event);
[[gnu::weak]] void wait_event(void* event);
[[gnu::weak]] void begin_capture(Stream&);
[[gnu::weak]] void* end_capture(Stream&);
[[gnu::weak]] void run_graph(Stream&, void* graph);
[[gnu::weak]] void free_graph(void*);
// In the stream's order, between any memory of host and device.
[[gnu::weak]] void copy_bytes(Stream&, void* to, const void* from, int64_t bytes);
[[gnu::weak]] void zero_bytes(Stream&, void* to, int64_t bytes);
// to = from in another floating dtype; both on the device.
[[gnu::weak]] void convert(Stream&, Tensor to, Tensor from);

}  // namespace limpid::cuda
