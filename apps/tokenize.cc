// Trains tokenizers, encodes texts into shards of tokens, and shows what shards hold.
//   limpid-tokenize train texts/ -o tok.model --vocab-size 8192
//   limpid-tokenize encode texts/ --tokenizer tok.model -o corpus --validation 0.01
//   limpid-tokenize show corpus-train.h5 --document 3
#include <CLI/CLI.hpp>

#include "apps/support/options.h"
#include "apps/support/program.h"
#include "apps/support/progress.h"
#include "core/log.h"
#include "data/encode.h"
#include "data/tokenizer_training.h"

using namespace limpid;

static std::string found_line(const Reader::Counts& counts) {
  std::string out = format("{} documents read", counts.documents);
  if (counts.empty) out += format(", {} empty", counts.empty);
  if (counts.not_text) out += format(", {} files of folders are no text", counts.not_text);
  if (counts.bad) out += format(", {} bad left out, the first: {}", counts.bad, counts.first_bad);
  return out;
}

static void train(const ReaderConfig& texts, const TokenizerTraining& training,
                  const std::string& output, bool force) {
  require(force || !file_exists(output), "{} exists: choose another --output, or --force", output);
  Reader reader(texts);
  LineSample sample(training.sample_bytes, training.seed);
  {
    ProgressLine line("reading");
    for (Part part; reader.next(part);) {
      sample.add(part.text);
      if (line.due()) line.show(reader.bytes_read(), reader.bytes_total(), "");
    }
  }
  log(found_line(reader.counts()));
  log("training on {} lines, {} of {} of text", sample.lines().size(),
      human_bytes(double(sample.bytes())), human_bytes(double(sample.seen_bytes())));
  const Tokenizer tokenizer = train_tokenizer(training, sample.lines());
  write_atomically(real_disk(), output, tokenizer.bytes());
  log("{}: {} pieces, SHA-256 {}", output, tokenizer.vocab_size(), tokenizer.hash());
}

static void print_shard(const Path& path, const ShardInfo& info) {
  log("{}: {} documents, {} tokens, {} of text, {:.3f} tokens a byte", path.string(),
      info.documents, info.tokens, human_bytes(double(info.text_bytes)),
      double(info.tokens) / double(std::max<int64_t>(1, info.text_bytes)));
}

static void encode(const EncodeConfig& config, const std::string& model) {
  const Tokenizer tokenizer = Tokenizer::load(model);
  EncodeReport report;
  {
    ProgressLine line("encoding");
    report = encode_texts(config, tokenizer, [&](const EncodeProgress& now) {
      if (!line.due()) return;
      line.show(now.bytes_read, now.bytes_total,
                format("  {} tokens, {} tokens/s", human_count(double(now.tokens)),
                       human_count(double(now.tokens) / line.seconds())));
    });
  }
  log(found_line(report.counts));
  print_shard(config.train_path(), report.train);
  if (report.validation) print_shard(config.validation_path(), *report.validation);
}

static void show_info(const TokenShard& shard) {
  const ShardInfo& info = shard.info();
  print_shard(shard.path(), info);
  log("vocabulary {}, BOS {}, EOS {} (-1: none)", info.vocab_size, info.bos, info.eos);
  log("tokenizer {}", info.tokenizer_hash);
  log("content   {}", info.content_hash);
  for (const Source& source : shard.sources())
    log("source    {} {} {} documents, {}", source.sha256.substr(0, 16), source.path,
        source.documents, human_bytes(double(source.bytes)));
}

static void show_document(const TokenShard& shard, int64_t document, bool pieces) {
  require(document >= 0 && document < shard.documents(), "{} has documents 0 to {}, no {}",
          shard.path(), shard.documents() - 1, document);
  const int64_t first = shard.document_offset(document);
  std::vector<int32_t> ids(size_t(shard.document_offset(document + 1) - first));
  shard.copy(first, int64_t(ids.size()), ids.data());
  const Tokenizer tokenizer = Tokenizer::from_bytes(shard.tokenizer_bytes());
  log("document {}: tokens {} to {}, from {}", document, first, first + int64_t(ids.size()) - 1,
      shard.source_of(document).path);
  if (!pieces) return log_line(tokenizer.decode(ids));
  for (size_t i = 0; i < ids.size(); ++i)
    log("{:>10} {:>7}  {}", first + int64_t(i), ids[i], tokenizer.piece(ids[i]));
}

int main(int argc, char** argv) {
  CLI::App app("Trains tokenizers, encodes texts into shards of tokens, shows what shards hold.");
  app.require_subcommand(1);

  ReaderConfig texts;
  TokenizerTraining training;
  std::string output;
  bool force = false;
  CLI::App* train_command = app.add_subcommand("train", "train a SentencePiece model on texts");
  train_command->add_option("inputs", texts.inputs, "files and folders")->required();
  train_command->add_option("-o,--output", output, "the model, such as tok.model")->required();
  train_command->add_flag("--force", force, "replace a model that exists");
  const Options training_options(*train_command, training), text_options(*train_command, texts);

  EncodeConfig config;
  std::string model;
  CLI::App* encode_command = app.add_subcommand("encode", "encode texts into shards of tokens");
  encode_command->add_option("inputs", config.reader.inputs, "files and folders")->required();
  encode_command->add_option("-t,--tokenizer", model, "a SentencePiece model")->required();
  encode_command->add_option("-o,--output", config.output, EncodeConfig::kOutputHelp)->required();
  const Options encode_options(*encode_command, config);

  std::string shard;
  int64_t document = -1;
  bool pieces = false, verify = false;
  CLI::App* show_command = app.add_subcommand("show", "show what a shard holds");
  show_command->add_option("shard", shard, "a shard")->required();
  show_command->add_option("--document", document, "show the text of this one, from 0");
  show_command->add_flag("--pieces", pieces, "its tokens one by one, not its text");
  show_command->add_flag("--verify", verify, "compare all tokens with the shard's own hash");

  return run_program(app, argc, argv, [&] {
    if (train_command->parsed()) {
      training_options.apply(training);
      text_options.apply(texts);
      train(texts, training, output, force);
    } else if (encode_command->parsed()) {
      encode_options.apply(config);
      encode(config, model);
    } else {
      const TokenShard opened(shard);
      if (verify) opened.verify();
      document < 0 ? show_info(opened) : show_document(opened, document, pieces);
    }
  });
}
