#include "core/cuda.h"
#include "core/launch.h"
#include "core/pack.h"

namespace limpid::cuda {
namespace {

constexpr int kThreads = 256;

template <class To, class From>
__global__ void __launch_bounds__(kThreads) convert_kernel(To* to, const From* from, int64_t n) {
  const int64_t stride = int64_t(gridDim.x) * kThreads;
  for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < n; i += stride)
    to[i] = narrow<To>(widen(from[i]));
}

cudaDeviceProp properties() {
  cudaDeviceProp out = {};
  check(cudaGetDeviceProperties(&out, 0), "look at the GPU");
  return out;
}

}  // namespace

int device_count() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

std::string describe_device() {
  const cudaDeviceProp device = properties();
  return format("{}, sm_{}{}, {:.1f} GiB", static_cast<const char*>(device.name), device.major,
                device.minor, double(device.totalGlobalMem) / double(1 << 30));
}

int64_t free_bytes() {
  size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "ask for free memory");
  return int64_t(free);
}

void* allocate(int64_t bytes) {
  void* data = nullptr;
  if (cudaMalloc(&data, size_t(bytes)) != cudaSuccess) {
    cudaGetLastError();  // what was refused is told by the caller
    return nullptr;
  }
  check(cudaMemset(data, 0, size_t(bytes)), "clear new memory");
  check(cudaDeviceSynchronize(), "clear new memory");  // streams do not wait for it
  return data;
}

void release(void* data) { cudaFree(data); }

void* allocate_pinned(int64_t bytes) {
  void* data = nullptr;
  if (cudaMallocHost(&data, size_t(bytes)) == cudaSuccess) return data;
  cudaGetLastError();
  return nullptr;
}

void release_pinned(void* data) { cudaFreeHost(data); }

Queue::Queue() : multiprocessors_(properties().multiProcessorCount) {
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "make a stream");
}

Queue::~Queue() {
  parts_.clear();
  for (void* scratch : scratches_) cudaFree(scratch);
  cudaStreamDestroy(stream_);
}

void* Queue::scratch(int64_t bytes) {
  if (bytes > scratch_bytes_) {
    cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    check(cudaStreamIsCapturing(stream_, &capture), "ask for a capture");
    require(capture == cudaStreamCaptureStatusNone,
            "a step that is being recorded needs {} bytes more of scratch",
            bytes - scratch_bytes_);
    void* larger = nullptr;
    check(cudaMalloc(&larger, size_t(bytes)), "get scratch memory for kernels");
    scratches_.push_back(larger);
    scratch_bytes_ = bytes;
  }
  return scratches_.empty() ? nullptr : scratches_.back();
}

Queue* open_queue() { return new Queue; }
void close_queue(Queue* queue) { delete queue; }

void synchronize(Stream& stream) {
  check(cudaStreamSynchronize(stream.queue().stream()), "wait for kernels");
}

void* make_event() {
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "make an event");
  return event;
}
void free_event(void* event) { cudaEventDestroy(static_cast<cudaEvent_t>(event)); }
void record_event(Stream& stream, void* event) {
  check(cudaEventRecord(static_cast<cudaEvent_t>(event), stream.queue().stream()),
        "record an event");
}
void hold(Stream& stream, void* event) {
  check(cudaStreamWaitEvent(stream.queue().stream(), static_cast<cudaEvent_t>(event)),
        "hold a stream");
}
void wait_event(void* event) {
  check(cudaEventSynchronize(static_cast<cudaEvent_t>(event)), "wait for an event");
}

void begin_capture(Stream& stream) {
  check(cudaStreamBeginCapture(stream.queue().stream(), cudaStreamCaptureModeThreadLocal),
        "begin to record a graph");
}
void* end_capture(Stream& stream) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t ready = nullptr;
  check(cudaStreamEndCapture(stream.queue().stream(), &graph), "record a graph");
  const cudaError_t status = cudaGraphInstantiate(&ready, graph);
  cudaGraphDestroy(graph);
  check(status, "make a graph ready");
  return ready;
}
void run_graph(Stream& stream, void* graph) {
  check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), stream.queue().stream()),
        "run a graph");
}
void free_graph(void* graph) { cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph)); }

void copy_bytes(Stream& stream, void* to, const void* from, int64_t bytes) {
  check(cudaMemcpyAsync(to, from, size_t(bytes), cudaMemcpyDefault, stream.queue().stream()),
        "copy");
}

void zero_bytes(Stream& stream, void* to, int64_t bytes) {
  check(cudaMemsetAsync(to, 0, size_t(bytes), stream.queue().stream()), "clear");
}

void convert(Stream& stream, Tensor to, Tensor from) {
  with_gpu_dtype(to.dtype, [&]<class To>() {
    with_gpu_dtype(from.dtype, [&]<class From>() {
      const int64_t n = to.numel();
      launch(stream, {"convert", blocks_for(stream, n, kThreads), kThreads},
             convert_kernel<To, From>, to.as<To>(), from.as<const From>(), n);
    });
  });
}

}  // namespace limpid::cuda
