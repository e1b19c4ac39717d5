#pragma once

#include <algorithm>
#include <limits>

#include "core/queue.h"

// For the CUDA backend's own sources only: how one of several ways to do the same is chosen.
namespace limpid::cuda {

// Whether what is given to the queue's stream is recorded rather than done.
inline bool capturing(const Queue& queue) {
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(queue.stream(), &capture), "ask for a capture");
  return capture != cudaStreamCaptureStatusNone;
}

class Stopwatch {
 public:
  Stopwatch() {
    check(cudaEventCreate(&begin_), "make an event");
    check(cudaEventCreate(&end_), "make an event");
  }
  ~Stopwatch() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

  // The least time of several runs of work(), which gives something to the queue's stream, after
  // one that is not timed. Gives up after the first timed run that takes twice `enough_ms`.
  template <class F>
  float least_ms(const Queue& queue, F&& work,
                 float enough_ms = std::numeric_limits<float>::infinity()) {
    constexpr int kRuns = 5;
    float least = std::numeric_limits<float>::infinity();
    work();
    for (int run = 0; run < kRuns && least < 2 * enough_ms; ++run) {
      check(cudaEventRecord(begin_, queue.stream()), "record an event");
      work();
      check(cudaEventRecord(end_, queue.stream()), "record an event");
      check(cudaEventSynchronize(end_), "time a kernel");
      float ms = 0;
      check(cudaEventElapsedTime(&ms, begin_, end_), "time a kernel");
      least = std::min(least, ms);
    }
    return least;
  }

 private:
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

}  // namespace limpid::cuda
