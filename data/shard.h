#pragma once

#include <string>
#include <vector>

#include "core/file.h"

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
  int64_t eos = -1;  // ends each document; -1 where none does
  std::string tokenizer_hash;
  std::string content_hash;  // SHA-256 in hex of the bytes of /tokens
};

// Tokens of many documents, one after another, in one memory-mapped HDF5 file:
//   /tokens            u16 or u32 (tokens)      page-aligned, contiguous
//   /document_offsets  i64 (documents + 1)      where each begins; the last is the number of tokens
//   /tokenizer         u8                       the whole SentencePiece model
//   /sources           text, JSON               [{"path", "bytes", "sha256", "documents"}, ...]
//   attributes of /    format = "limpid tokens 1", and the fields of ShardInfo by their names
// A document is [BOS] its ids [EOS], where the tokenizer has these. Written by data/spool.h.
class TokenShard {
 public:
  static constexpr const char* kFormat = "limpid tokens 1";

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
  const Source& source_of(int64_t document) const;
  const std::string& tokenizer_bytes() const { return tokenizer_; }
  // Reads all tokens: throws Error where their hash is not content_hash.
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

}  // namespace limpid
