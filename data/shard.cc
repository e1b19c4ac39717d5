#include "data/shard.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/hash.h"
#include "core/hdf5.h"

namespace limpid {
namespace {

int64_t number(const hdf5::Reader& file, const char* name) {
  const auto value = file.int_attribute("/", name);
  require(value.has_value(), "{}: has no attribute {}: it is not whole", file.path(), name);
  return *value;
}

std::string text(const hdf5::Reader& file, const char* name) {
  const auto value = file.text_attribute("/", name);
  require(value.has_value(), "{}: has no attribute {}: it is not whole", file.path(), name);
  return *value;
}

ShardInfo read_info(const hdf5::Reader& file) {
  require(file.text_attribute("/", "format") == TokenShard::kFormat,
          "{}: is no shard of tokens: make one with limpid-tokenize encode", file.path());
  return {.tokens = number(file, "tokens"),
          .documents = number(file, "documents"),
          .text_bytes = number(file, "text_bytes"),
          .vocab_size = number(file, "vocab_size"),
          .bos = number(file, "bos"),
          .eos = number(file, "eos"),
          .tokenizer_hash = text(file, "tokenizer_hash"),
          .content_hash = text(file, "content_hash")};
}

std::vector<Source> read_sources(const hdf5::Reader& file) {
  std::vector<Source> out;
  try {
    for (const auto& one : nlohmann::json::parse(file.text("/sources")))
      out.push_back({one.at("path"), one.at("bytes"), one.at("sha256"), one.at("documents")});
  } catch (const nlohmann::json::exception& error) {
    fail("{}: /sources is not sound: {}", file.path(), error.what());
  }
  return out;
}

}  // namespace

TokenShard::TokenShard(const Path& path) : path_(path.string()), file_(path) {
  const hdf5::Reader file(path);
  info_ = read_info(file);
  sources_ = read_sources(file);
  tokenizer_ = file.blob("/tokenizer");
  require(sha256_hex(tokenizer_) == info_.tokenizer_hash, "{}: its tokenizer is damaged", path_);

  const hdf5::Extent tokens = file.extent("/tokens"), offsets = file.extent("/document_offsets");
  require(tokens.dtype == DType::u16 || tokens.dtype == DType::u32,
          "{}: /tokens is {}, need u16 or u32", path_, tokens.dtype);
  require(tokens.shape == Shape({info_.tokens}), "{}: /tokens has shape {}, need ({})", path_,
          tokens.shape, info_.tokens);
  require(offsets.dtype == DType::i64 && offsets.shape == Shape({info_.documents + 1}),
          "{}: /document_offsets is {} {}, need i64 ({})", path_, offsets.dtype, offsets.shape,
          info_.documents + 1);
  require(offsets.offset % int64_t(sizeof(int64_t)) == 0, "{}: /document_offsets is not aligned",
          path_);
  require(
      std::max(tokens.offset + tokens.bytes(), offsets.offset + offsets.bytes()) <= file_.size(),
      "{}: it became shorter while it was read", path_);
  require(info_.vocab_size > 0 && info_.vocab_size < int64_t(1) << 31 &&
              info_.bos < info_.vocab_size && info_.eos < info_.vocab_size,
          "{}: a vocabulary of {} with BOS {} and EOS {} cannot be", path_, info_.vocab_size,
          info_.bos, info_.eos);
  wide_ = tokens.dtype == DType::u32;
  tokens_ = file_.data() + tokens.offset;
  offsets_ = reinterpret_cast<const int64_t*>(file_.data() + offsets.offset);

  require(offsets_[0] == 0 && offsets_[info_.documents] == info_.tokens,
          "{}: documents cover tokens {} to {} of {}", path_, offsets_[0],
          offsets_[info_.documents], info_.tokens);
  for (int64_t i = 0; i < info_.documents; ++i)
    require(offsets_[i] < offsets_[i + 1], "{}: document {} ends before it begins", path_, i);
  int64_t documents = 0;
  for (const Source& source : sources_) {
    require(source.documents >= 0 && source.documents <= info_.documents - documents,
            "{}: /sources counts more documents than there are", path_);
    source_ends_.push_back(documents += source.documents);
  }
  require(documents == info_.documents, "{}: /sources counts {} documents of {}", path_, documents,
          info_.documents);
}

void TokenShard::copy(int64_t first, int64_t count, int32_t* out) const {
  require(first >= 0 && count >= 0 && count <= info_.tokens - first,
          "{}: has {} tokens, not those from {} to {}", path_, info_.tokens, first, first + count);
  uint32_t largest = 0;
  const auto convert = [&]<class T>() {
    const T* from = reinterpret_cast<const T*>(tokens_) + first;
    for (int64_t i = 0; i < count; ++i) {
      largest = std::max(largest, uint32_t(from[i]));
      out[i] = int32_t(from[i]);
    }
  };
  wide_ ? convert.operator()<uint32_t>() : convert.operator()<uint16_t>();
  if (int64_t(largest) < info_.vocab_size) return;
  const int32_t* bad = std::find(out, out + count, int32_t(largest));
  fail("{}: token {} is {}, its vocabulary has {}: the file is damaged", path_, first + (bad - out),
       largest, info_.vocab_size);
}

int64_t TokenShard::document_at(int64_t token) const {
  require(token >= 0 && token < info_.tokens, "{}: has {} tokens, no token {}", path_, info_.tokens,
          token);
  return std::upper_bound(offsets_, offsets_ + info_.documents, token) - offsets_ - 1;
}

const Source& TokenShard::source_of(int64_t document) const {
  require(document >= 0 && document < info_.documents, "{}: has {} documents, no document {}",
          path_, info_.documents, document);
  const auto end = std::upper_bound(source_ends_.begin(), source_ends_.end(), document);
  return sources_[size_t(end - source_ends_.begin())];
}

void TokenShard::verify() const {
  const std::string hash = to_hex(sha256(tokens_, size_t(info_.tokens * (wide_ ? 4 : 2))));
  require(hash == info_.content_hash, "{}: its tokens have the hash {}, not {}: it is damaged",
          path_, hash, info_.content_hash);
}

}  // namespace limpid
