// Whole training steps: tokens/s, and how near the arithmetic comes to a plain matmul of this
// machine.
//   build/cpu/bench/train_step [--model gpt2-124m|llama-14m] [--json]
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <numeric>

#include "apps/support/program.h"
#include "core/log.h"
#include "kernels/matmul.h"
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
};

std::vector<Case> cases() {
  ModelConfig gpt;
  gpt.kind = ModelKind::gpt;
  gpt.layers = 12;
  gpt.width = 768;
  gpt.heads = 12;
  gpt.vocab = 50304;
  gpt.context = 256;
  ModelConfig llama;
  llama.layers = 6;
  llama.width = 384;
  llama.heads = 6;
  llama.hidden = 1024;
  llama.vocab = 8192;
  llama.context = 256;
  return {{"gpt2-124m", gpt, 4}, {"llama-14m", llama, 8}};
}

struct Measured {
  double seconds = 0;  // median of the steps
  double first_loss = 0, last_loss = 0;
};

Measured measure(const Case& one, int64_t steps) {
  const ModelConfig& c = one.config;
  Stream stream;
  Model model(c, stream.device, true);
  model.params().initialise(stream, 1);
  const OptimizerConfig optimizer_config{.lr = 3e-4};
  const auto optimizer = make_optimizer(optimizer_config, model.params(), stream.device);
  GradientNorm norm(model.params(), stream.device);
  const MemoryNeed need = memory_need(c, one.batch, c.context, Recompute::none);
  Arena saved(stream.device, need.saved, "activations"),
      scratch(stream.device, need.scratch, "scratch");
  const int64_t tokens = one.batch * c.context;
  std::vector<int32_t> ids(size_t(tokens + 1));
  for (size_t i = 0; i < ids.size(); ++i)
    ids[i] = int32_t(Random(1, "ids").words(i)[0] % uint64_t(c.vocab));
  std::vector<float> losses(static_cast<size_t>(tokens));
  const Shape shape = {one.batch, c.context};

  Measured out;
  std::vector<double> seconds;
  for (int64_t step = 1; step <= steps + 2; ++step) {  // two to warm up
    const auto begin = std::chrono::steady_clock::now();
    model.params().zero_gradients(stream);
    const Arena::Scope scope(saved);
    Ctx ctx{.stream = stream, .saved = saved, .scratch = scratch, .training = true};
    Model::Saved kept;
    model.forward(ctx, {ids.data(), shape, DType::i32}, kept);
    model.backward(ctx, {losses.data(), shape, DType::f32}, {ids.data(), shape, DType::i32},
                   {ids.data() + 1, shape, DType::i32}, float(1.0 / double(tokens)), kept);
    norm.clip(stream, optimizer_config.clip);
    optimizer->update(stream, step, optimizer_config.lr, norm.factor());
    if (step > 2)
      seconds.push_back(
          std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    const double loss = std::accumulate(losses.begin(), losses.end(), 0.0) / double(tokens);
    (step == 1 ? out.first_loss : out.last_loss) = loss;
  }
  std::nth_element(seconds.begin(), seconds.begin() + std::ptrdiff_t(seconds.size() / 2),
                   seconds.end());
  out.seconds = seconds[seconds.size() / 2];
  return out;
}

void report(const Case& one, int64_t steps, bool json) {
  // The machine's rate before and after: it changes with what else runs there.
  const double before = gemm_rate_gflops(2048, 5);
  const Measured measured = measure(one, steps);
  const double gemm = std::max(before, gemm_rate_gflops(2048, 5));
  const double tokens_per_s = double(one.batch * one.config.context) / measured.seconds;
  const double flops = flops_per_token(one.config, one.config.context);
  const double gflops = 1e-9 * flops * tokens_per_s;
  if (json) {
    const nlohmann::ordered_json line = {{"bench", "train_step"},
                                         {"model", one.name},
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
    return log_line(line.dump());
  }
  log("{}: B={} T={} V={}, f32, AdamW, {} parameters", one.name, one.batch, one.config.context,
      one.config.vocab, human_count(double(parameter_count(one.config))));
  log("  {:.0f} tokens/s, {:.3f} s a step (median of {}), loss {:.3f} -> {:.3f}", tokens_per_s,
      measured.seconds, steps, measured.first_loss, measured.last_loss);
  log("  {:.0f} GFLOP/s = tokens/s x (6 x {} matmul weights + 6 x layers x width x T = {} FLOPs a "
      "token)",
      gflops, human_count(double(matmul_weight_count(one.config))), human_count(flops));
  log("  {:.3f} of the plain oneDNN f32 2048^3 matmul's {:.0f} GFLOP/s", gflops / gemm, gemm);
}

}  // namespace
}  // namespace limpid

int main(int argc, char** argv) {
  using namespace limpid;
  CLI::App app("Training steps of two models against a plain matmul, in one run.");
  std::string model;
  int64_t steps = 0;
  bool json = false;
  app.add_option("--model", model, "gpt2-124m or llama-14m; both where not given")
      ->check(CLI::IsMember({"gpt2-124m", "llama-14m"}));
  app.add_option("--steps", steps, "steps to time; 0: 5 of the large one, 10 of the small one")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--json", json, "one line of JSON a model, the same figures");
  return run_program(app, argc, argv, [&] {
    for (const Case& one : cases())
      if (model.empty() || model == one.name)
        report(one, steps ? steps : one.batch == 4 ? 5 : 10, json);
  });
}
