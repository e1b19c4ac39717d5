#include "bench/support.h"

#include <omp.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "apps/support/program.h"
#include "core/log.h"
#include "core/random.h"
#include "kernels/matmul.h"

namespace limpid::bench {
namespace {

double time_copy(int64_t repeats) {
  constexpr int64_t kBytes = 256 << 20, kPiece = 1 << 20;
  const Buffer from(Device::cpu, kBytes, "copy from"), to(Device::cpu, kBytes, "copy to");
  std::memset(from.data(), 1, kBytes);
  const double seconds = best_seconds(repeats, [&] {
#pragma omp parallel for
    for (int64_t at = 0; at < kBytes; at += kPiece)
      std::memcpy(static_cast<char*>(to.data()) + at, static_cast<char*>(from.data()) + at, kPiece);
  });
  return 2e-9 * double(kBytes) / seconds;
}

double rate(const Figure& figure) { return 1e-9 * figure.work / figure.seconds; }
double ratio(const Figure& figure, const Machine& machine) {
  return rate(figure) / (figure.is_gemm ? machine.gemm_gflops : machine.copy_gb_per_s);
}

nlohmann::json to_json(const Figure& figure, const Machine& machine) {
  return {{"name", figure.name},
          {"shape", figure.shape},
          {"ms", 1e3 * figure.seconds},
          {figure.is_gemm ? "gflops" : "gb_per_s", rate(figure)},
          {figure.is_gemm ? "of_gemm" : "of_copy", ratio(figure, machine)}};
}

}  // namespace

int run(int argc, char** argv, const std::string& about,
        const std::function<void(const Options&)>& body) {
  Options options;
  CLI::App app(about);
  app.add_flag("--json", options.json, "one line of JSON, the same figures");
  app.add_option("--repeats", options.repeats, "runs of which the best counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--threads", options.threads, "threads; 0: as many as OpenMP has")
      ->check(CLI::Range(0, 4096));
  return run_program(app, argc, argv, [&] {
    if (options.threads > 0) omp_set_num_threads(int(options.threads));
    options.threads = omp_get_max_threads();
    body(options);
  });
}

Tensor Inputs::random(Shape shape, DType dtype) {
  const int64_t n = shape.numel();
  const Buffer& buffer = buffers_.emplace_back(Device::cpu, n * size_of(dtype), "bench input");
  const Tensor tensor = buffer.tensor(0, shape, dtype);
  with_dtype(dtype, [&]<class T>() {
    T* out = tensor.as<T>();
#pragma omp parallel for
    for (int64_t i = 0; i < n; ++i) out[i] = T(float(mix64(uint64_t(i)) >> 40) * 0x1p-24f - 0.5f);
  });
  return tensor;
}

Tensor Inputs::integers(Shape shape, int64_t below) {
  const int64_t n = shape.numel();
  const Buffer& buffer = buffers_.emplace_back(Device::cpu, n * 4, "bench input");
  const Tensor tensor = buffer.tensor(0, shape, DType::i32);
  for (int64_t i = 0; i < n; ++i)
    tensor.as<int32_t>()[i] = int32_t(mix64(uint64_t(i)) % uint64_t(below));
  return tensor;
}

void Machine::measure(int64_t repeats) {
  gemm_gflops = std::max(gemm_gflops, gemm_rate_gflops(2048, int(repeats)));
  copy_gb_per_s = std::max(copy_gb_per_s, time_copy(repeats));
}

void print(const std::string& bench, const Options& options, const Machine& machine,
           const std::vector<Figure>& figures) {
  if (options.json) {
    nlohmann::json rows = nlohmann::json::array();
    for (const Figure& figure : figures) rows.push_back(to_json(figure, machine));
    const nlohmann::json line = {{"bench", bench},
                                 {"threads", options.threads},
                                 {"gemm_gflops", machine.gemm_gflops},
                                 {"copy_gb_per_s", machine.copy_gb_per_s},
                                 {"figures", rows}};
    return log_line(line.dump());
  }
  log("{}: {} threads, GEMM {:.0f} GFLOP/s (f32 2048^3), copy {:.1f} GB/s (read + write)", bench,
      options.threads, machine.gemm_gflops, machine.copy_gb_per_s);
  log("{:<36}{:<24}{:>10}{:>16}{:>14}", "op", "shape", "ms", "rate", "ratio");
  for (const Figure& figure : figures)
    log("{:<36}{:<24}{:>10.3f}{:>8.1f} {:<7}{:>6.2f} {:<7}", figure.name, figure.shape,
        1e3 * figure.seconds, rate(figure), figure.is_gemm ? "GFLOP/s" : "GB/s",
        ratio(figure, machine), figure.is_gemm ? "of GEMM" : "of copy");
}

}  // namespace limpid::bench
