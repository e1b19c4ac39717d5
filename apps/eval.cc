// Scores a checkpoint on texts: perplexity and bits per byte.
//   limpid-eval runs/quickstart held-out.txt
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "apps/support/loaded_model.h"
#include "apps/support/program.h"
#include "core/log.h"
#include "eval/perplexity.h"

using namespace limpid;
using Json = nlohmann::ordered_json;

static TextScore score_shard(TextScorer& scorer, const LoadedModel& loaded,
                             const std::string& path) {
  const TokenShard shard(path);
  require(shard.info().tokenizer_hash == loaded.tokenizer.hash(),
          "{} was made with another tokenizer than the model's: encode its text again with it",
          path);
  return scorer.score(shard, [](double) {});
}

// A text file is one document: BOS (or EOS, or its own first token, where there is none) is
// context, all of its tokens are scored.
static TextScore score_text(TextScorer& scorer, const LoadedModel& loaded,
                            const std::string& path) {
  const std::string text = read_text(path, int64_t(4) << 30);
  std::vector<int32_t> ids = loaded.tokenizer.encode(text);
  const int64_t first =
      loaded.tokenizer.bos() >= 0 ? loaded.tokenizer.bos() : loaded.tokenizer.eos();
  if (first >= 0) ids.insert(ids.begin(), int32_t(first));
  return scorer.score(ids, double(text.size()));
}

static void evaluate(const std::string& folder, const std::vector<std::string>& files, int64_t rows,
                     const std::string& json_path) {
  const LoadedModel loaded = load_model(folder);
  TextScorer scorer(*loaded.model, rows);
  Json results = Json::object();
  log("{} (step {})", loaded.folder.string(), loaded.step);
  log("{:<40} {:>10} {:>9} {:>12} {:>14}", "text", "tokens", "loss", "perplexity", "bits per byte");
  for (const std::string& file : files) {
    const TextScore score = file.ends_with(".h5") ? score_shard(scorer, loaded, file)
                                                  : score_text(scorer, loaded, file);
    log("{:<40} {:>10} {:>9.4f} {:>12.3f} {:>14.4f}", file, score.tokens, score.loss(),
        score.perplexity(), score.bits_per_byte());
    results[file] = {{"tokens", score.tokens},
                     {"loss", score.loss()},
                     {"perplexity", score.perplexity()},
                     {"bits_per_byte", score.bits_per_byte()}};
  }
  if (json_path.empty()) return;
  const Json out = {
      {"checkpoint", loaded.folder.string()}, {"step", loaded.step}, {"results", results}};
  write_atomically(real_disk(), json_path, out.dump(1) + "\n");
}

int main(int argc, char** argv) {
  CLI::App app(
      "Scores a checkpoint on texts: loss (nats a token), perplexity (a token) and bits per byte.");
  std::string folder, json_path;
  std::vector<std::string> files;
  int64_t rows = 8;
  app.add_option("CHECKPOINT", folder, "a checkpoint's folder, or a run's (its newest checkpoint)")
      ->required();
  app.add_option("FILE", files, "text files, or token shards (.h5)")->required();
  app.add_option("--rows", rows, "sequences at a time")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--json", json_path, "write the scores to this file too");
  return run_program(app, argc, argv, [&] { evaluate(folder, files, rows, json_path); });
}
