#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "core/memory.h"

namespace limpid::bench {

// What a bench of kernels takes: --json for one line of figures, --repeats, --threads.
struct Options {
  bool json = false;
  int64_t repeats = 5;
  int64_t threads = 0;  // 0: as many as OpenMP has
  Device device = Device::cpu;
};
// Reads the command line, sets the number of threads and runs the body, as the programs do. What
// main returns.
int run(int argc, char** argv, const std::string& about,
        const std::function<void(const Options&)>& body);

// The shortest of `repeats` runs, in seconds, after one that is not counted.
template <class F>
double best_seconds(int64_t repeats, F&& run) {
  double best = std::numeric_limits<double>::infinity();
  for (int64_t i = 0; i <= repeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    run();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    if (i > 0) best = std::min(best, took.count());
  }
  return best;
}
// The same of what is given to a stream. A GPU does it several times between two looks at the
// clock, so that what the look costs does not count.
template <class F>
double best_seconds(Stream& stream, int64_t repeats, F&& run) {
  const int64_t times = stream.device == Device::cuda ? 20 : 1;
  const double seconds = best_seconds(repeats, [&] {
    for (int64_t i = 0; i < times; ++i) run();
    synchronize(stream);
  });
  return seconds / double(times);
}

// Tensors of a stream's device that live as long as this, filled with numbers in [-0.5, 0.5), or
// with integers in [0, below).
class Inputs {
 public:
  explicit Inputs(Stream& stream) : stream_(stream) {}
  Tensor random(Shape, DType = DType::f32);
  // As activations and weights are stored: f32 on a CPU, bf16 on a GPU.
  Tensor stored(Shape);
  Tensor integers(Shape, int64_t below);

 private:
  Stream& stream_;
  std::deque<Buffer> buffers_;
};

// What a time is compared with, on the same device and in the same run.
class Machine {
 public:
  explicit Machine(Stream& stream) : stream_(stream) {}
  // Measures again and keeps the best: the rates change with what else runs on a machine.
  void measure(int64_t repeats);
  std::string device() const;

  double gemm_gflops = 0;    // f32 2048^3 on a CPU, bf16 8192^3 on a GPU
  double copy_gb_per_s = 0;  // bytes read and bytes written

 private:
  Stream& stream_;
};

// One figure: an amount of work done in a time, and its part of what the machine does at most.
struct Figure {
  std::string name;
  std::string shape;
  double seconds = 0;
  double work = 0;  // operations, or bytes read and written
  bool is_gemm = false;
};

// A table for people, or one line of JSON.
void print(const std::string& bench, const Options&, const Machine&, const std::vector<Figure>&);

}  // namespace limpid::bench
