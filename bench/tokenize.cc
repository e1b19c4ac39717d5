// How fast text becomes tokens, beside SentencePiece's own encoder as spm_encode drives it: line by
// line, on one thread, in the same run.
//   build/cpu/bench/tokenize [--model tok.model] [--json] [TEXTS...]
#include <sentencepiece_processor.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <thread>

#include "apps/support/program.h"
#include "core/log.h"
#include "data/encode.h"
#include "data/tokenizer_training.h"

namespace limpid {
namespace {

std::vector<std::string> read_lines(const std::vector<std::string>& inputs, int64_t limit_bytes) {
  ReaderConfig config;
  config.inputs = inputs;
  config.skip_bad = true;
  config.documents.split = TextSplit::lines;
  Reader reader(config);
  std::vector<std::string> out;
  for (Part part; limit_bytes > 0 && reader.next(part);) {
    limit_bytes -= int64_t(part.text.size());
    out.push_back(std::move(part.text));
  }
  return out;
}

// MB/s of the fastest run.
double best_rate(int64_t repeats, double bytes, const std::function<void()>& run) {
  double best = std::numeric_limits<double>::infinity();
  for (int64_t i = 0; i < repeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    run();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    best = std::min(best, took.count());
  }
  return bytes / best / 1e6;
}

struct Rates {
  double megabytes = 0;  // of text
  double plain = 0;      // MB/s; SentencePiece, one thread
  double encoder = 0;    // limpid's Encoder, the same lines, one thread, nothing remembered
  double program = 0;    // limpid-tokenize encode, all threads, from a file to a shard
  int64_t threads = 1;
};

Rates measure(const Tokenizer& tokenizer, const std::vector<std::string>& lines, int64_t repeats) {
  std::string joined;
  for (const std::string& line : lines) joined += line + "\n";
  const double bytes = double(joined.size());
  sentencepiece::SentencePieceProcessor plain;
  require(plain.LoadFromSerializedProto(tokenizer.bytes()).ok(), "not a SentencePiece model");

  std::vector<int> plain_ids;
  std::vector<int32_t> ids;
  Rates rates{.megabytes = bytes / 1e6, .threads = int64_t(std::thread::hardware_concurrency())};
  rates.plain = best_rate(repeats, bytes, [&] {
    plain_ids.clear();
    std::vector<int> line_ids;
    for (const std::string& line : lines) {
      const auto status = plain.Encode(line, &line_ids);
      require(status.ok(), "{}", status.ToString());
      plain_ids.insert(plain_ids.end(), line_ids.begin(), line_ids.end());
    }
  });
  rates.encoder = best_rate(repeats, bytes, [&] {
    Encoder encoder(tokenizer);
    ids.clear();
    for (const std::string& line : lines) encoder.encode(line, true, ids);
  });
  require(ids == plain_ids, "the Encoder and SentencePiece disagree");

  std::string folder = (std::filesystem::temp_directory_path() / "limpid-bench-XXXXXX").string();
  require(mkdtemp(folder.data()) != nullptr, "cannot make {}{}", folder, errno_text());
  write_atomically(real_disk(), Path(folder) / "text.txt", joined);
  EncodeConfig config;
  config.reader.inputs = {folder + "/text.txt"};
  config.output = folder + "/out.h5";
  config.force = true;
  rates.program = best_rate(repeats, bytes,
                            [&] { encode_texts(config, tokenizer, [](const EncodeProgress&) {}); });
  real_disk().remove_all(folder);
  return rates;
}

void print(const Rates& rates, bool json) {
  const double of_threads = rates.program / rates.plain / double(rates.threads);
  if (json) {
    const nlohmann::ordered_json line = {{"bench", "tokenize"},
                                         {"megabytes", rates.megabytes},
                                         {"sentencepiece_mb_per_s", rates.plain},
                                         {"encoder_mb_per_s", rates.encoder},
                                         {"encoder_ratio", rates.encoder / rates.plain},
                                         {"threads", rates.threads},
                                         {"program_mb_per_s", rates.program},
                                         {"program_ratio_a_thread", of_threads}};
    log_line(line.dump());
    return;
  }
  log("{:.1f} MB of text", rates.megabytes);
  log("SentencePiece, line by line, 1 thread     {:>8.2f} MB/s", rates.plain);
  log("limpid, line by line, 1 thread            {:>8.2f} MB/s  {:.2f} x SentencePiece",
      rates.encoder, rates.encoder / rates.plain);
  log("limpid, file to shard, {:>3} threads        {:>8.2f} MB/s  {:.2f} x SentencePiece a thread",
      rates.threads, rates.program, of_threads);
}

}  // namespace
}  // namespace limpid

int main(int argc, char** argv) {
  using namespace limpid;
  CLI::App app("How fast text becomes tokens.");
  std::vector<std::string> inputs = {"/usr/share/common-licenses"};
  std::string model;
  int64_t megabytes = 8, repeats = 3;
  bool json = false;
  app.add_option("texts", inputs, "files and folders [the licenses of Debian]");
  app.add_option("--model", model, "a SentencePiece model; without: one is trained on the texts");
  app.add_option("--megabytes", megabytes, "of text at most")->capture_default_str();
  app.add_option("--repeats", repeats, "runs, of which the best counts")->capture_default_str();
  app.add_flag("--json", json, "print one line of JSON");
  return run_program(app, argc, argv, [&] {
    const std::vector<std::string> lines = read_lines(inputs, megabytes * 1000000);
    TokenizerTraining training;
    training.shrink_to_fit = true;
    const Tokenizer tokenizer =
        model.empty() ? train_tokenizer(training, lines) : Tokenizer::load(model);
    print(measure(tokenizer, lines, repeats), json);
  });
}
