#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/file.h"
#include "data/tokenizer.h"

namespace limpid {

// A file that tokens came from.
struct Source {
  std::string path;
  int64_t bytes = 0;      // on disk
  std::string sha256;     // hex, of the file as it lies on disk
  int64_t documents = 0;  // of it in this shard, which lie in the order of the sources
};

// What a shard says of itself.
struct ShardInfo {
  int64_t tokens = 0;
  int64_t documents = 0;
  int64_t text_bytes = 0;  // UTF-8, of all documents
  int64_t vocab_size = 0;
  int64_t bos = -1;  // begins each document; -1 where none does
  int64_t eos = -1;  // ends each document
  std::string tokenizer_hash;
  std::string content_hash;  // SHA-256 of the tokens as little-endian u32
};

// Tokens of many documents, one after another, in one memory-mapped HDF5 file:
//   /tokens            u16 or u32 (tokens)      page-aligned, contiguous
//   /document_offsets  i64 (documents + 1)      where each begins; the last is the number of tokens
//   /tokenizer         u8                       the whole SentencePiece model
//   /sources           text, JSON               [{"path", "bytes", "sha256", "documents"}]
//   attributes of /    format = "limpid tokens 1" and the fields of ShardInfo
// A document is [BOS] its ids [EOS], where the tokenizer has these.
class TokenShard {
 public:
  // Throws Error naming file and fact where anything in the structure is wrong.
  explicit TokenShard(const Path& path);

  const std::string& path() const { return path_; }
  const ShardInfo& info() const { return info_; }
  int64_t tokens() const { return info_.tokens; }
  int64_t documents() const { return info_.documents; }
  // Tokens [first, first + count). Throws Error naming file and place for an id outside the
  // vocabulary.
  void copy(int64_t first, int64_t count, int32_t* out) const;
  // The document that holds a token.
  int64_t document_at(int64_t token) const;
  // Where a document begins; the number of tokens for document = documents().
  int64_t document_offset(int64_t document) const { return offsets_[document]; }
  const std::vector<Source>& sources() const { return sources_; }
  const std::string& source_of(int64_t document) const;
  const std::string& tokenizer_bytes() const { return tokenizer_; }
  // Reads all tokens and compares their hash with the shard's own. Throws Error where they differ.
  void verify() const;

 private:
  std::string path_;
  ShardInfo info_;
  std::vector<Source> sources_;
  std::vector<int64_t> source_ends_;  // documents up to and with each source
  std::string tokenizer_;
  MappedFile file_;
  bool wide_ = false;  // u32
  const char* tokens_ = nullptr;
  const int64_t* offsets_ = nullptr;
};

// Writes one shard in bounded memory: tokens and offsets gather in files beside it; finish() lays
// the shard out and lets it appear whole. Without finish() nothing stays.
class ShardWriter {
 public:
  ShardWriter(Disk& disk, Path path, const Tokenizer& tokenizer);
  ~ShardWriter();
  ShardWriter(const ShardWriter&) = delete;
  ShardWriter& operator=(const ShardWriter&) = delete;

  // A document is begun, extended any number of times, and ended. BOS and EOS are added here.
  void begin();
  void extend(std::span<const int32_t> ids, int64_t text_bytes);
  void end();
  // Throws Error where there is no document. replace: a shard of this name may go.
  ShardInfo finish(const std::vector<Source>& sources, bool replace);

 private:
  struct Spool;
  Disk& disk_;
  Path path_;
  Tokenizer tokenizer_;
  ShardInfo info_;
  std::unique_ptr<Spool> tokens_, offsets_;
};

}  // namespace limpid
