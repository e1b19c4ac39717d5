// Writes text with a checkpoint's model.
//   limpid-generate runs/quickstart --prompt "Once upon a time" --max-tokens 100
#include <CLI/CLI.hpp>
#include <cstdio>

#include "apps/support/loaded_model.h"
#include "apps/support/program.h"
#include "eval/sample.h"
#include "model/count.h"

using namespace limpid;

// Shows what new ids add to the text, once whole characters stand.
class Printer {
 public:
  explicit Printer(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  void add(int32_t id) {
    ids_.push_back(id);
    const std::string text = tokenizer_.decode(ids_);
    if (text.ends_with("\xef\xbf\xbd")) return;  // half a character so far
    show(text);
  }
  void finish() {
    if (!ids_.empty()) show(tokenizer_.decode(ids_));
    std::fputc('\n', stdout);
  }

 private:
  void show(const std::string& text) {
    std::fwrite(text.data() + shown_, 1, text.size() - std::min(shown_, text.size()), stdout);
    std::fflush(stdout);
    shown_ = text.size();
  }
  const Tokenizer& tokenizer_;
  std::vector<int32_t> ids_;
  size_t shown_ = 0;
};

static void generate(const LoadedModel& loaded, const std::string& prompt, int64_t max_tokens,
                     const Sampling& sampling) {
  const ModelConfig& config = loaded.model->config();
  std::vector<int32_t> ids;
  if (loaded.tokenizer.bos() >= 0) ids.push_back(int32_t(loaded.tokenizer.bos()));
  for (int32_t id : loaded.tokenizer.encode(prompt)) ids.push_back(id);
  require(!ids.empty(), "this tokenizer has no BOS, so a --prompt is needed");
  require(int64_t(ids.size()) <= config.context,
          "the prompt has {} tokens, and the model's context {}; shorten it", ids.size(),
          config.context);

  Stream stream;
  Model::Cache cache(config, 1, config.context);
  const Buffer logits_buffer(Device::cpu, config.vocab * 4, "logits");
  const Tensor logits = logits_buffer.tensor(0, {1, config.vocab}, DType::f32);
  Arena scratch(
      Device::cpu,
      memory_need(config, 1, config.context, Recompute::full).scratch + aligned(config.width * 8),
      "scratch");
  Ctx ctx{.stream = stream, .saved = scratch, .scratch = scratch, .dtype = config.float_type()};

  Printer printer(loaded.tokenizer);
  for (size_t i = loaded.tokenizer.bos() >= 0; i < ids.size(); ++i) printer.add(ids[i]);
  size_t known = 0;
  for (int64_t made = 0; made < max_tokens && int64_t(ids.size()) <= config.context; ++made) {
    const int64_t count = int64_t(ids.size() - known);
    loaded.model->extend(ctx, logits, {&ids[known], {1, count}, DType::i32}, cache);
    known = ids.size();
    const int32_t next =
        sample({logits.as<float>(), size_t(config.vocab)}, sampling, int64_t(known));
    if (next == loaded.tokenizer.eos() || next == loaded.tokenizer.bos()) break;
    ids.push_back(next);
    if (next < loaded.tokenizer.vocab_size()) printer.add(next);
  }
  printer.finish();
}

int main(int argc, char** argv) {
  CLI::App app("Writes text with a checkpoint's model, token by token.");
  std::string folder, prompt;
  int64_t max_tokens = 200, samples = 1;
  Sampling sampling{.temperature = 0.8, .top_p = 0.95};
  app.add_option("CHECKPOINT", folder, "a checkpoint's folder, or a run's (its newest checkpoint)")
      ->required();
  app.add_option("--prompt", prompt, "text to go on from; none begins a new document");
  app.add_option("--max-tokens", max_tokens, "tokens to write at most")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_flag("--greedy", sampling.greedy, "always the likeliest token");
  app.add_option("--temperature", sampling.temperature, "below 1: safer, above 1: wilder")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--top-k", sampling.top_k, "choose among the k likeliest; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--top-p", sampling.top_p,
                 "choose among the likeliest that have this probability together")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app.add_option("--seed", sampling.seed, "the same seed writes the same text")
      ->capture_default_str();
  app.add_option("--samples", samples, "texts to write, with seeds that follow each other")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  return run_program(app, argc, argv, [&] {
    const LoadedModel loaded = load_model(folder);
    for (int64_t i = 0; i < samples; ++i, ++sampling.seed)
      generate(loaded, prompt, max_tokens, sampling);
  });
}
