#include "bench/support.h"

#include <omp.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/support/program.h"
#include "core/cuda.h"
#include "core/log.h"
#include "core/random.h"
#include "kernels/matmul.h"

namespace limpid::bench {
namespace {

// Copies memory that is larger than every cache; bytes read and written, GB a second.
double time_copy(Stream& stream, int64_t repeats) {
  const int64_t bytes = stream.device == Device::cuda ? int64_t(2) << 30 : int64_t(256) << 20;
  const Buffer from(stream.device, bytes, "copy from"), to(stream.device, bytes, "copy to");
  const Tensor source = from.tensor(0, {bytes}, DType::u8),
               target = to.tensor(0, {bytes}, DType::u8);
  zero(stream, source);
  return 2e-9 * double(bytes) /
         best_seconds(stream, repeats, [&] { copy(stream, target, source); });
}

int64_t gemm_side(const Stream& stream) { return stream.device == Device::cuda ? 8192 : 2048; }

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
  std::string device = "cpu";
  app.add_option("--device", device, "cpu or cuda")->check(CLI::IsMember({"cpu", "cuda"}));
  return run_program(app, argc, argv, [&] {
    options.device = device == "cuda" ? Device::cuda : Device::cpu;
    if (options.threads > 0) omp_set_num_threads(int(options.threads));
    options.threads = omp_get_max_threads();
    body(options);
  });
}

Tensor Inputs::random(Shape shape, DType dtype) {
  const int64_t n = shape.numel();
  const Buffer& buffer = buffers_.emplace_back(stream_.device, n * size_of(dtype), "bench input");
  const Tensor tensor = buffer.tensor(0, shape, dtype);
  Buffer staging;
  const Tensor host = host_twin(stream_, tensor, staging);
  with_dtype(dtype, [&]<class T>() {
    T* out = host.as<T>();
#pragma omp parallel for
    for (int64_t i = 0; i < n; ++i) out[i] = T(float(mix64(uint64_t(i)) >> 40) * 0x1p-24f - 0.5f);
  });
  copy(stream_, tensor, host);
  synchronize(stream_);
  return tensor;
}

Tensor Inputs::stored(Shape shape) {
  return random(shape, stream_.device == Device::cuda ? DType::bf16 : DType::f32);
}

Tensor Inputs::integers(Shape shape, int64_t below) {
  const int64_t n = shape.numel();
  const Buffer& buffer = buffers_.emplace_back(stream_.device, n * 4, "bench input");
  const Tensor tensor = buffer.tensor(0, shape, DType::i32);
  Buffer staging;
  const Tensor host = host_twin(stream_, tensor, staging);
  for (int64_t i = 0; i < n; ++i)
    host.as<int32_t>()[i] = int32_t(mix64(uint64_t(i)) % uint64_t(below));
  copy(stream_, tensor, host);
  synchronize(stream_);
  return tensor;
}

void Machine::measure(int64_t repeats) {
  gemm_gflops = std::max(gemm_gflops, gemm_rate_gflops(stream_, gemm_side(stream_), int(repeats)));
  copy_gb_per_s = std::max(copy_gb_per_s, time_copy(stream_, repeats));
}

std::string Machine::device() const {
  if (stream_.device == Device::cuda) return cuda::describe_device();
  return format("CPU, {} threads", omp_get_max_threads());
}

void print(const std::string& bench, const Options& options, const Machine& machine,
           const std::vector<Figure>& figures) {
  if (options.json) {
    nlohmann::json rows = nlohmann::json::array();
    for (const Figure& figure : figures) rows.push_back(to_json(figure, machine));
    const nlohmann::json line = {{"bench", bench},
                                 {"device", machine.device()},
                                 {"gemm_gflops", machine.gemm_gflops},
                                 {"copy_gb_per_s", machine.copy_gb_per_s},
                                 {"figures", rows}};
    return log_line(line.dump());
  }
  log("{}: {}, GEMM {:.0f} GFLOP/s ({}), copy {:.1f} GB/s (read + write)", bench, machine.device(),
      machine.gemm_gflops, options.device == Device::cuda ? "bf16 8192^3" : "f32 2048^3",
      machine.copy_gb_per_s);
  log("{:<36}{:<24}{:>10}{:>16}{:>14}", "op", "shape", "ms", "rate", "ratio");
  for (const Figure& figure : figures)
    log("{:<36}{:<24}{:>10.3f}{:>8.1f} {:<7}{:>6.2f} {:<7}", figure.name, figure.shape,
        1e3 * figure.seconds, rate(figure), figure.is_gemm ? "GFLOP/s" : "GB/s",
        ratio(figure, machine), figure.is_gemm ? "of GEMM" : "of copy");
}

}  // namespace limpid::bench
