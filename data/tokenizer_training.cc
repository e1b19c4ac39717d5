#include "data/tokenizer_training.h"

#include <sentencepiece_trainer.h>

#include <algorithm>
#include <charconv>
#include <unordered_map>

#include "core/error.h"
#include "core/log.h"
#include "core/random.h"
#include "data/utf8.h"

namespace limpid {
namespace {

constexpr size_t kLongestLine = 4096;  // bytes; SentencePiece leaves out lines of more than 4192

class Lines : public sentencepiece::SentenceIterator {
 public:
  explicit Lines(const std::vector<std::string>& lines) : at_(lines.begin()), end_(lines.end()) {}
  bool done() const override { return at_ == end_; }
  void Next() override { ++at_; }
  const std::string& value() const override { return *at_; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  std::vector<std::string>::const_iterator at_, end_;
};

struct Attempt {
  std::string model;
  std::string error;  // empty where there is a model
};

Attempt try_training(const TokenizerTraining& training, const std::vector<std::string>& lines,
                     int64_t vocab_size) {
  const std::unordered_map<std::string, std::string> args = {
      {"model_type", training.type == TokenizerType::bpe ? "bpe" : "unigram"},
      {"vocab_size", std::to_string(vocab_size)},
      {"character_coverage", exact(training.character_coverage)},
      {"byte_fallback", training.byte_fallback ? "true" : "false"},
      {"normalization_rule_name", "identity"},
      {"remove_extra_whitespaces", "false"},
      {"allow_whitespace_only_pieces", "true"},
      {"split_digits", "true"},
      {"num_threads", "16"},  // the model may depend on it, so it is fixed
      {"minloglevel", "2"},
  };
  Lines sentences(lines);
  Attempt attempt;
  const auto status = sentencepiece::SentencePieceTrainer::Train(args, &sentences, &attempt.model);
  if (!status.ok()) attempt.error = status.ToString();
  return attempt;
}

// The N of "Vocabulary size too high (400). Please set it to a value <= N.", or 0.
int64_t largest_vocab(const std::string& error) {
  const size_t at = error.find("<= ");
  int64_t out = 0;
  if (at != std::string::npos && error.find("too high") != std::string::npos)
    std::from_chars(error.data() + at + 3, error.data() + error.size(), out);
  return out;
}

}  // namespace

void TokenizerTraining::fields(Fields& f) {
  static constexpr const char* kTypes[] = {"bpe", "unigram"};
  f.field("vocab_size", vocab_size, "pieces, with 256 for bytes and 3 for control", kPositive);
  f.field("type", type, kTypes, "how pieces are found");
  f.field("byte_fallback", byte_fallback, "bytes stand for characters that have no piece");
  f.field("character_coverage", character_coverage, "share of the text's characters with a piece",
          kFraction);
  f.field("shrink_to_fit", shrink_to_fit,
          "take the largest vocabulary that the text allows where vocab_size is more");
  f.field("sample_bytes", sample_bytes, "bytes of text to learn from, chosen by lines", kPositive);
  f.field("seed", seed, "of the choice");
}

LineSample::LineSample(int64_t sample_bytes, int64_t seed)
    : limit_bytes_(sample_bytes), seed_(mix64(uint64_t(seed))) {}

void LineSample::add(std::string_view text) {
  seen_bytes_ += int64_t(text.size());
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.ends_with('\r')) line.remove_suffix(1);
    while (!line.empty()) {
      std::string_view piece = line.substr(0, kLongestLine);
      if (piece.size() < line.size()) piece.remove_suffix(cut_character(piece));
      add_line(piece);
      line.remove_prefix(piece.size());
    }
  }
}

void LineSample::add_line(std::string_view line) {
  const uint64_t hash = mix64(seed_ ^ mix64(uint64_t(seen_lines_++)));
  if (hash > threshold_) return;
  lines_.emplace_back(line);
  hashes_.push_back(hash);
  bytes_ += int64_t(line.size());
  while (bytes_ > limit_bytes_ && lines_.size() > 1) thin_out();
}

// Keeps the lines with the lower half of the hashes that were allowed so far.
void LineSample::thin_out() {
  threshold_ /= 2;
  size_t kept = 0;
  bytes_ = 0;
  for (size_t i = 0; i < lines_.size(); ++i) {
    if (hashes_[i] > threshold_) continue;
    bytes_ += int64_t(lines_[i].size());
    lines_[kept].swap(lines_[i]);
    hashes_[kept++] = hashes_[i];
  }
  lines_.resize(kept);
  hashes_.resize(kept);
}

Tokenizer train_tokenizer(const TokenizerTraining& training,
                          const std::vector<std::string>& lines) {
  require(!lines.empty(), "there is no text to train a tokenizer on");
  Attempt attempt = try_training(training, lines, training.vocab_size);
  const int64_t largest = largest_vocab(attempt.error);
  if (largest > 0 && training.shrink_to_fit) {
    warn("the text allows a vocabulary of {}, not {}", largest, training.vocab_size);
    attempt = try_training(training, lines, largest);
  } else if (largest > 0) {
    fail(
        "the vocabulary of {} is too large for so little text: set --vocab-size to {} or less, "
        "allow it with --shrink-to-fit, or give more text",
        training.vocab_size, largest);
  }
  require(attempt.error.empty(), "SentencePiece cannot train a tokenizer: {}", attempt.error);
  return Tokenizer::from_bytes(std::move(attempt.model));
}

}  // namespace limpid
