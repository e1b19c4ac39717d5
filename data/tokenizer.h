#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/fields.h"
#include "core/file.h"

namespace limpid {

// A SentencePiece model (Kudo & Richardson 2018, arXiv:1808.06226): text to ids and back. Immutable
// and cheap to copy; every call may come from any thread.
class Tokenizer {
 public:
  // Any SentencePiece .model. Throws Error naming the file where it is none.
  static Tokenizer load(const Path& model);
  // The same from its bytes, as shards and checkpoints hold them.
  static Tokenizer from_bytes(std::string model);

  // The ids that SentencePiece gives for the whole text, without BOS and EOS. A text longer than
  // kLongestPart bytes is cut as an Encoder's user would cut it.
  std::vector<int32_t> encode(std::string_view text) const;
  // Text of ids; BOS, EOS and other control ids are nothing. Throws Error for an id outside the
  // vocabulary.
  std::string decode(std::span<const int32_t> ids) const;

  int64_t vocab_size() const;
  int64_t bos() const;  // -1 where there is none, as eos()
  int64_t eos() const;
  std::string piece(int64_t id) const;  // "\u2581the", "<0x0A>"
  const std::string& bytes() const;     // the whole model file
  const std::string& hash() const;      // its SHA-256 in hex

  // Whether text is cut into words, each encoded once and remembered: so for BPE with a plain
  // normaliser. Other models encode whole texts.
  bool cuts_words() const;

  static constexpr int64_t kLongestPart = 1 << 20;

 private:
  friend class Encoder;
  struct Model;
  explicit Tokenizer(std::shared_ptr<const Model> model);
  std::shared_ptr<const Model> model_;  // shared by copies and Encoders; never changes
};

// One thread's way to encode much text: it remembers the words it has seen.
class Encoder {
 public:
  explicit Encoder(const Tokenizer&);
  ~Encoder();
  Encoder(Encoder&&) noexcept;

  // Appends the ids of a document, or of its part that begins at a cut(); first: its beginning.
  void encode(std::string_view text, bool first, std::vector<int32_t>& out);
  // The last place at or before the end of text where a document may be cut in two parts with the
  // same ids as whole, or the end where there is none in a text of kLongestPart bytes or more, or 0.
  size_t cut(std::string_view text) const;

 private:
  struct Words;
  std::shared_ptr<const Tokenizer::Model> model_;
  std::unique_ptr<Words> words_;
};

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
  int64_t seen_bytes() const { return seen_bytes_; }

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
