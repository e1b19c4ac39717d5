// Whole training steps: tokens/s, and how near the arithmetic comes to a plain matmul of the same
// device.
//   build/cpu/bench/train_step [--device cpu|cuda] [--model NAME] [--batch B] [--json]
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "apps/support/program.h"
#include "core/cuda.h"
#include "core/graph.h"
#include "core/log.h"
#include "kernels/matmul.h"
#include "kernels/reduce.h"
#include "model/count.h"
#include "model/model.h"
#include "optim/clip.h"
#include "optim/optimizer.h"

namespace limpid {
namespace {

struct Case {
  const char* name;
  ModelConfig config;
  int64_t batch;
  int64_t steps;  // timed
};

ModelConfig gpt(int64_t layers, int64_t width, int64_t heads, int64_t context) {
  ModelConfig out;
  out.kind = ModelKind::gpt;
  out.layers = layers, out.width = width, out.heads = heads;
  out.vocab = 50304, out.context = context;
  return out;
}

ModelConfig llama(int64_t layers, int64_t width, int64_t heads, int64_t hidden, int64_t vocab,
                  int64_t context) {
  ModelConfig out;
  out.layers = layers, out.width = width, out.heads = heads;
  out.hidden = hidden, out.vocab = vocab, out.context = context;
  return out;
}

// What is trained where: small and f32 on a CPU, bf16 with f32 master weights on a GPU.
std::vector<Case> cases(Device device) {
  if (device == Device::cpu)
    return {{"gpt2-124m", gpt(12, 768, 12, 256), 4, 5},
            {"llama-14m", llama(6, 384, 6, 1024, 8192, 256), 8, 10}};
  std::vector<Case> out = {{"gpt2-124m", gpt(12, 768, 12, 1024), 64, 50},
                           {"gpt2-1.5b", gpt(48, 1600, 25, 1024), 16, 20},
                           {"llama-1.3b", llama(22, 2048, 16, 5632, 32000, 2048), 8, 20}};
  for (Case& one : out) {
    one.config.dtype = FloatKind::bf16;
    one.config.head_rows = one.batch * one.config.context;
  }
  return out;
}

struct Measured {
  double seconds = 0;  // median of the steps
  double first_loss = 0, last_loss = 0;
};

// One model and what a step of it needs, on random tokens.
class Training {
 public:
  Training(const Case& one, Device device)
      : one_(one),
        stream_(device),
        model_(one.config, device, true),
        optimizer_(make_optimizer(kOptimizer, model_.params(), device)),
        norm_(model_.params(), device),
        need_(memory_need(one.config, one.batch, one.config.context, Recompute::none)),
        saved_(device, need_.saved, "activations"),
        scratch_(device, need_.scratch, "scratch"),
        memory_(device, 3 * aligned(shape().numel() * 4) + kAlignment, "batch") {
    model_.params().initialise(stream_, 1);
    optimizer_->adopt_values(stream_);
    const int64_t bytes = aligned(shape().numel() * 4);
    tokens_ = memory_.tensor(0, shape(), DType::i32);
    targets_ = memory_.tensor(bytes, shape(), DType::i32);
    losses_ = memory_.tensor(2 * bytes, shape(), DType::f32);
    total_ = memory_.tensor(3 * bytes, {1}, DType::f64);
    std::vector<int32_t> ids(size_t(shape().numel() + 1));
    for (size_t i = 0; i < ids.size(); ++i)
      ids[i] = int32_t(Random(1, "ids").words(i)[0] % uint64_t(one.config.vocab));
    copy(stream_, tokens_, {ids.data(), shape(), DType::i32});
    copy(stream_, targets_, {ids.data() + 1, shape(), DType::i32});
    synchronize(stream_);
  }

  // One step, done when this returns.
  void step() {
    model_.params().zero_gradients(stream_);
    // The first steps run as they are, so that libraries have chosen and scratch has grown.
    if (stream_.device == Device::cuda && ++steps_ > 2) {
      if (!graph_) graph_.record(stream_, [&] { forward_backward(); });
      graph_.run(stream_);
    } else {
      forward_backward();
    }
    sum(stream_, total_, losses_);
    norm_.clip(stream_, total_, kOptimizer.clip);
    optimizer_->update(stream_, ++updates_, kOptimizer.lr, norm_.factor());
    synchronize(stream_);
  }
  // Mean of the last step, nats a token.
  double loss() {
    Buffer host;
    return *on_host(stream_, total_, host).as<double>() / double(shape().numel());
  }

 private:
  static inline const OptimizerConfig kOptimizer{.lr = 3e-4};
  Shape shape() const { return {one_.batch, one_.config.context}; }
  void forward_backward() {
    const Arena::Scope scope(saved_);
    Ctx ctx{.stream = stream_,
            .saved = saved_,
            .scratch = scratch_,
            .dtype = one_.config.float_type(),
            .training = true};
    Model::Saved kept;
    model_.forward(ctx, tokens_, kept);
    model_.backward(ctx, losses_, tokens_, targets_, float(1.0 / double(shape().numel())), kept);
  }

  const Case& one_;
  Stream stream_;
  Model model_;
  std::unique_ptr<Optimizer> optimizer_;
  GradientNorm norm_;
  MemoryNeed need_;
  Arena saved_, scratch_;
  Buffer memory_;
  Tensor tokens_, targets_, losses_, total_;
  Graph graph_;
  int64_t steps_ = 0, updates_ = 0;
};

Measured measure(const Case& one, Device device, int64_t steps) {
  constexpr int64_t kWarmUp = 4;
  Training training(one, device);
  Measured out;
  std::vector<double> seconds;
  for (int64_t step = 0; step < steps + kWarmUp; ++step) {
    const auto begin = std::chrono::steady_clock::now();
    training.step();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    if (step >= kWarmUp) seconds.push_back(took.count());
    if (step == 0) out.first_loss = training.loss();
  }
  out.last_loss = training.loss();
  std::nth_element(seconds.begin(), seconds.begin() + std::ptrdiff_t(seconds.size() / 2),
                   seconds.end());
  out.seconds = seconds[seconds.size() / 2];
  return out;
}

// Dense bf16 FLOP/s that the maker states, without sparsity; 0 for a device that is not listed.
double stated_peak(const std::string& device) {
  for (const auto& [name, peak] : {std::pair{"H200", 989e12}, {"H100", 989e12}, {"A100", 312e12}})
    if (device.find(name) != std::string::npos) return peak;
  return 0;
}

void report(const Case& one, Device device, bool json) {
  // The machine's rate before and after: it changes with what else runs there.
  Stream stream(device);
  const int64_t n = device == Device::cuda ? 8192 : 2048;
  const double before = gemm_rate_gflops(stream, n, 5);
  const Measured measured = measure(one, device, one.steps);
  const double gemm = std::max(before, gemm_rate_gflops(stream, n, 5));
  const double tokens_per_s = double(one.batch * one.config.context) / measured.seconds;
  const double flops = flops_per_token(one.config, one.config.context);
  const double full = flops + 6.0 * double(one.config.layers * one.config.width) *
                                  double(one.config.context);  // attention without the mask
  const double gflops = 1e-9 * flops * tokens_per_s;
  const std::string where =
      device == Device::cuda ? cuda::describe_device() : to_string(Device::cpu);
  const double peak = stated_peak(where);
  const std::string dtype = to_string(one.config.float_type());
  if (json) {
    nlohmann::ordered_json line = {{"bench", "train_step"},
                                   {"device", where},
                                   {"model", one.name},
                                   {"dtype", dtype},
                                   {"batch", one.batch},
                                   {"context", one.config.context},
                                   {"tokens_per_s", tokens_per_s},
                                   {"step_s", measured.seconds},
                                   {"flops_per_token", flops},
                                   {"gflops", gflops},
                                   {"gemm_gflops", gemm},
                                   {"ratio", gflops / gemm},
                                   {"first_loss", measured.first_loss},
                                   {"last_loss", measured.last_loss}};
    if (peak > 0) line["mfu_causal"] = flops * tokens_per_s / peak;
    if (peak > 0) line["mfu_full"] = full * tokens_per_s / peak;
    return log_line(line.dump());
  }
  log("{}: B={} T={} V={}, {}, AdamW, {} parameters, {}", one.name, one.batch, one.config.context,
      one.config.vocab, dtype, human_count(double(parameter_count(one.config))), where);
  log("  {:.0f} tokens/s, {:.3f} s a step (median of {}), loss {:.3f} -> {:.3f}", tokens_per_s,
      measured.seconds, one.steps, measured.first_loss, measured.last_loss);
  log("  {:.0f} GFLOP/s = tokens/s x (6 x {} matmul weights + 6 x layers x width x T = {} FLOPs a "
      "token)",
      gflops, human_count(double(matmul_weight_count(one.config))), human_count(flops));
  log("  {:.3f} of the plain {}^3 matmul's {:.0f} GFLOP/s", gflops / gemm, n, gemm);
  if (peak > 0)
    log("  MFU {:.3f} with causal attention, {:.3f} with attention counted whole, of {:.0f} "
        "TFLOP/s",
        flops * tokens_per_s / peak, full * tokens_per_s / peak, 1e-12 * peak);
}

}  // namespace
}  // namespace limpid

int main(int argc, char** argv) {
  using namespace limpid;
  CLI::App app("Training steps against a plain matmul, in one run.");
  std::string model, device = "cpu";
  int64_t steps = 0, batch = 0;
  bool json = false;
  app.add_option("--device", device, "cpu or cuda")->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_option("--model", model,
                 "gpt2-124m, llama-14m (CPU), gpt2-1.5b or llama-1.3b (GPU); all of the device's "
                 "where not given");
  app.add_option("--batch", batch, "sequences a step; 0: the model's own")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--steps", steps, "steps to time; 0: the model's own number")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--json", json, "one line of JSON a model, the same figures");
  return run_program(app, argc, argv, [&] {
    const Device on = device == "cuda" ? Device::cuda : Device::cpu;
    bool any = false;
    std::vector<Case> all = cases(on);
    for (Case& one : all) {
      if (!model.empty() && model != one.name) continue;
      if (batch > 0) one.batch = batch;
      if (steps > 0) one.steps = steps;
      report(one, on, json);
      any = true;
    }
    require(any, "--model {}: the {} has no such case", model, on);
  });
}
