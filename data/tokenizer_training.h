#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/fields.h"
#include "data/tokenizer.h"

namespace limpid {

enum class TokenizerType { bpe, unigram };

// How limpid trains a SentencePiece model. The text's every byte survives: no normalisation, blanks
// kept, bytes for characters that have no piece, digits apart.
struct TokenizerTraining {
  int64_t vocab_size = 8192;
  TokenizerType type = TokenizerType::bpe;
  bool byte_fallback = true;
  double character_coverage = 0.9995;
  bool shrink_to_fit = false;
  int64_t sample_bytes = 64 << 20;
  int64_t seed = 0;

  void fields(Fields& f);
};

// Lines of text, chosen by a hash of (seed, number of the line) until they have at most
// sample_bytes. The choice does not depend on anything else.
class LineSample {
 public:
  LineSample(int64_t sample_bytes, int64_t seed);
  // A document or a part of it.
  void add(std::string_view text);
  const std::vector<std::string>& lines() const { return lines_; }
  int64_t bytes() const { return bytes_; }            // of lines()
  int64_t seen_bytes() const { return seen_bytes_; }  // of all that was added

 private:
  void add_line(std::string_view line);
  void thin_out();

  int64_t limit_bytes_;
  uint64_t seed_;
  uint64_t threshold_ = ~uint64_t(0);
  int64_t seen_lines_ = 0;
  int64_t seen_bytes_ = 0;
  int64_t bytes_ = 0;
  std::vector<std::string> lines_;
  std::vector<uint64_t> hashes_;
};

// Throws Error with what SentencePiece says, such as the largest vocabulary that the text allows.
Tokenizer train_tokenizer(const TokenizerTraining&, const std::vector<std::string>& lines);

}  // namespace limpid
