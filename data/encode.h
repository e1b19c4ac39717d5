#pragma once

#include <functional>
#include <optional>
#include <string>

#include "core/fields.h"
#include "data/reader.h"
#include "data/shard.h"
#include "data/tokenizer.h"

namespace limpid {

// From texts to shards.
struct EncodeConfig {
  ReaderConfig reader;
  std::string output;
  double validation = 0;
  int64_t seed = 0;
  int64_t threads = 0;
  bool force = false;

  static constexpr const char* kOutputHelp =
      "OUT.h5; with --validation OUT-train.h5 and OUT-validation.h5";
  void fields(Fields& f);
  // The shards that will be written: OUT.h5, or OUT-train.h5 and OUT-validation.h5. An ending .h5
  // of output is not repeated.
  Path train_path() const;
  Path validation_path() const;
};

struct EncodeProgress {
  int64_t bytes_read = 0, bytes_total = 0;  // on disk
  int64_t documents = 0;
  int64_t tokens = 0;
};

struct EncodeReport {
  ShardInfo train;
  std::optional<ShardInfo> validation;
  Reader::Counts counts;
};

// Encodes every document of the reader's files, on all threads, in memory that does not grow with
// them. The shards' bytes depend on texts, paths, tokenizer, validation and seed alone.
//
// A document is for validation where key < validation * 2^64; key: the first 8 bytes, big-endian,
// of the SHA-256 of the seed in decimal, ":" and the text (of a long one, its first 64 KiB). So
// equal documents stay together. Where that leaves one side empty, it gets the documents of the
// smallest (validation) or largest key (train).
// progress is called now and then, from the calling thread. Throws Error before any work where the
// output exists and force is not set.
EncodeReport encode_texts(const EncodeConfig& config, const Tokenizer& tokenizer,
                          const std::function<void(const EncodeProgress&)>& progress);

}  // namespace limpid
