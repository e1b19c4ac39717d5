#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

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

  // The ids that SentencePiece gives for the whole text, without BOS and EOS. A text of more than
  // kLongestPart bytes is taken in parts: see Encoder::cut().
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

  // Appends the ids of a document, or of one of its parts; first: its beginning.
  void encode(std::string_view text, bool first, std::vector<int32_t>& out);
  // How much of what is left of a document to encode at once: all, or of more than kLongestPart
  // bytes about as many, up to a blank where the ids stay those of the whole. Where half of that
  // has no such blank, it ends between any two characters.
  size_t cut(std::string_view rest) const;

 private:
  struct Words;
  void encode_word(std::string_view word, bool first, std::vector<int32_t>& out);
  void append(std::span<const int32_t> ids, bool first, std::vector<int32_t>& out) const;
  bool may_cut(std::string_view text, size_t blank) const;

  std::shared_ptr<const Tokenizer::Model> model_;
  std::unique_ptr<Words> words_;
};

}  // namespace limpid
