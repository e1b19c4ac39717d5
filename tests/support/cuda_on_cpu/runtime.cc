#include <dlfcn.h>

#include <cstdlib>
#include <fstream>
#include <set>

#include "tests/support/cuda_on_cpu/cuda_runtime.h"

namespace limpid::cuda_on_cpu {
namespace {

std::string last_fault;

// Kernels that were launched. Where LIMPID_KERNELS_RUN names a file, their places in the program
// are added to it at the end (kernels_run.sh makes names of them).
class KernelsRun {
 public:
  void note(const void* kernel) { seen_.insert(kernel); }
  ~KernelsRun() {
    const char* path = std::getenv("LIMPID_KERNELS_RUN");
    if (!path) return;
    std::ofstream out(path, std::ios::app);
    for (const void* kernel : seen_) {
      Dl_info info;
      if (dladdr(kernel, &info) != 0)
        out << std::hex
            << reinterpret_cast<uintptr_t>(kernel) - reinterpret_cast<uintptr_t>(info.dli_fbase)
            << "\n";
    }
  }

 private:
  std::set<const void*> seen_;
};

}  // namespace

cudaError_t give(StreamState* stream, Work work) {
  if (!stream->capture) return work();
  stream->capture->work.push_back(std::move(work));
  return cudaSuccess;
}

cudaError_t launch(StreamState* stream, const void* kernel, Dim grid, Dim block,
                   size_t shared_bytes, std::function<void()> thread) {
  static KernelsRun kernels;
  kernels.note(kernel);
  return give(stream, [=, thread = std::move(thread)] {
    const std::string text = run(grid, block, shared_bytes, thread);
    if (text.empty()) return cudaSuccess;
    last_fault = text;
    return cudaErrorLaunchFailure;
  });
}

}  // namespace limpid::cuda_on_cpu

using namespace limpid::cuda_on_cpu;

const char* cudaGetErrorString(cudaError_t status) {
  if (status == cudaErrorLaunchFailure) return last_fault.c_str();
  return status == cudaErrorMemoryAllocation ? "out of memory" : "no error";
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* out, int) {
  *out = {"emulated GPU", 9, 0, 4, size_t(4) << 30};
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = *total = size_t(4) << 30;
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** data, size_t bytes) {
  if (bytes > size_t(4) << 30) return cudaErrorMemoryAllocation;
  *data = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (!*data) return cudaErrorMemoryAllocation;
  std::memset(*data, 0xff, bytes);  // NaN, in every floating type
  return cudaSuccess;
}
cudaError_t cudaFree(void* data) {
  std::free(data);
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** data, size_t bytes) { return cudaMalloc(data, bytes); }
cudaError_t cudaFreeHost(void* data) { return cudaFree(data); }
cudaError_t cudaMemset(void* to, int value, size_t bytes) {
  std::memset(to, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  return give(stream, [=] { return cudaMemset(to, value, bytes); });
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  return give(stream, [=] {
    std::memmove(to, from, bytes);
    return cudaSuccess;
  });
}
cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new StreamState;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (!stream->capture) return cudaSuccess;
  last_fault = "a stream that is being captured cannot be waited for";
  return cudaErrorLaunchFailure;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  *status = stream->capture ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  stream->capture = std::make_unique<Graph>();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = stream->capture.release();
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new EventState;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = new Graph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  for (const Work& work : exec->work)
    if (const cudaError_t status = give(stream, work); status != cudaSuccess) return status;
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) { return cudaGraphDestroy(exec); }
