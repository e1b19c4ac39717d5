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

// Tensors on the CPU that live as long as this, filled with numbers in [-0.5, 0.5), or with
// integers in [0, below).
class Inputs {
 public:
  Tensor random(Shape, DType = DType::f32);
  Tensor integers(Shape, int64_t below);

 private:
  std::deque<Buffer> buffers_;
};

// What a time is compared with, on the same machine and in the same run.
struct Machine {
  double gemm_gflops = 0;    // f32 2048 x 2048 x 2048
  double copy_gb_per_s = 0;  // 256 MiB of f32, bytes read and bytes written

  // Measures again and keeps the best: the rates change with what else runs on a machine.
  void measure(int64_t repeats);
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
