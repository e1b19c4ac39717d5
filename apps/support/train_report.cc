#include "apps/support/train_report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "core/log.h"
#include "kernels/matmul.h"
#include "model/count.h"

namespace limpid {
namespace {

void print_model(const Recipe& recipe) {
  const ModelConfig& m = recipe.model;
  log("model      {}, {} layers, {} wide, {} heads ({} for keys), vocabulary {}, context {}: {} "
      "parameters",
      m.is_gpt() ? "gpt" : "llama", m.layers, m.width, m.heads, m.key_heads(), m.vocab, m.context,
      human_count(double(parameter_count(m))));
  log("           {} FLOPs a token (6 x {} weights in matmuls + causal attention)",
      human_count(flops_per_token(m, m.context)), human_count(double(matmul_weight_count(m))));
}

// Tokens of the whole run, batch by batch.
int64_t run_tokens(const TrainConfig& train, int64_t context) {
  int64_t samples = 0;
  for (int64_t step = 0; step < train.steps; ++step) {
    if (train.batch_at(samples) == train.batch) {
      samples += (train.steps - step) * train.batch;
      break;
    }
    samples += train.batch_at(samples);
  }
  return samples * context;
}

void print_training(const Recipe& recipe) {
  const TrainConfig& t = recipe.train;
  log("training   {} steps of {} sequences of {} tokens ({} tokens a step, {} at a time): {} "
      "tokens",
      t.steps, t.batch, recipe.model.context, human_count(double(t.batch * recipe.model.context)),
      human_count(double(t.micro_batch * recipe.model.context)),
      human_count(double(run_tokens(t, recipe.model.context))));
}

// What two threads of oneDNN pack matrices in, the libraries' own, pieces of checkpoints: as
// measured above the rest.
constexpr int64_t kWorkSpaceBytes = 32 << 20;

void print_memory(const Recipe& recipe) {
  const MemoryNeed need = memory_need(recipe.model, recipe.train.micro_batch, recipe.model.context,
                                      recipe.train.recompute);
  const int64_t optimizer =
      optimizer_bytes(recipe.optimizer, parameter_count(recipe.model), recipe.model.float_type());
  const std::array<std::pair<const char*, int64_t>, 6> rows = {{{"parameters", need.parameters},
                                                                {"gradients", need.gradients},
                                                                {"optimizer", optimizer},
                                                                {"activations", need.saved},
                                                                {"scratch", need.scratch},
                                                                {"work space", kWorkSpaceBytes}}};
  int64_t total = 0;
  for (const auto& [label, bytes] : rows) {
    log("memory     {:<12} {:>12}", label, human_bytes(double(bytes)));
    total += bytes;
  }
  log("memory     {:<12} {:>12}", "together", human_bytes(double(total)));
}

void print_data(Batches& batches) {
  for (const CorpusInfo& corpus : batches.corpora())
    log("data       {}: {} tokens, weight {:.3f}", corpus.path, human_count(double(corpus.tokens)),
        corpus.weight);
  for (const ValidationSet& set : batches.validation())
    log("validation {}: {} of {} sequences", set.info().path, set.sequences(), set.info().windows);
}

bool data_is_there(const DataConfig& data) {
  if (data.train.empty()) return false;
  for (const std::string& path : data.train)
    if (!file_exists(path)) {
      log("data       {} is not there yet", path);
      return false;
    }
  return true;
}

}  // namespace

bool changes_numbers(const std::string& key) {
  constexpr std::array<std::string_view, 7> kFree = {
      "run", "device", "log.", "checkpoint.", "validation.", "train.recompute", "train.resume"};
  constexpr std::array<std::string_view, 4> kFreeToo = {"train.steps", "train.max_skipped",
                                                        "data.validation", "model.head_rows"};
  const auto begins = [&](std::string_view free) { return key.starts_with(free); };
  return std::none_of(kFree.begin(), kFree.end(), begins) &&
         std::none_of(kFreeToo.begin(), kFreeToo.end(), begins);
}

void print_start(const Recipe& recipe, Batches& batches, const Progress& progress, double peak) {
  print_model(recipe);
  print_data(batches);
  print_training(recipe);
  print_memory(recipe);
  log("machine    a plain matmul runs at {:.0f} GFLOP/s here: 'peak' below", peak / 1e9);
  if (progress.step > 0)
    log("resume     after step {}, {} tokens", progress.step, human_count(double(progress.tokens)));
}

void print_high_water(const Trainer& trainer) {
  for (const Arena* arena : {&trainer.saved(), &trainer.scratch()}) {
    log("memory     {}: {} in use at most", arena->label(),
        human_bytes(double(arena->high_water())));
    for (const auto& [label, bytes] : arena->high_water_by_label())
      log("memory       {:<30} {:>12}", label, human_bytes(double(bytes)));
  }
}

void print_dry_run(const Recipe& recipe) {
  print_model(recipe);
  if (data_is_there(recipe.data)) {
    Batches batches(recipe.data, recipe.model.context, recipe.model.vocab);
    print_data(batches);
  }
  print_training(recipe);
  print_memory(recipe);
  const double rate = 1e9 * gemm_rate_gflops(1024, 10), part = 0.6;
  const double flops = flops_per_token(recipe.model, recipe.model.context) *
                       double(run_tokens(recipe.train, recipe.model.context));
  log("time       about {} on this machine, at {:.0f}% of a plain matmul's {:.0f} GFLOP/s",
      human_seconds(flops / (rate * part)), 100 * part, rate / 1e9);
}

std::string validation_line(const ValidationSet& set, int64_t step, double loss) {
  return format("validation at step {}: {}  loss {:.4f}  perplexity {:.2f}  bits per byte {:.4f}",
                step, set.info().name, loss, std::exp(loss),
                loss / (std::numbers::ln2 * set.bytes_per_token()));
}

}  // namespace limpid
