#pragma once

#include <functional>
#include <memory>
#include <span>

#include "core/file.h"
#include "data/shard.h"
#include "data/tokenizer.h"

namespace limpid {

// Tokens of documents on their way to shards, gathered in two files without a name, so that memory
// stays small and nothing is left behind.
class Spool {
 public:
  struct Document {
    int64_t first = 0;   // token
    int64_t tokens = 0;  // with BOS and EOS
    int64_t text_bytes = 0;
    int64_t source = 0;
    uint64_t key = 0;  // what write_shard's caller chooses by
  };

  // The files lie in folder.
  Spool(Disk& disk, const Path& folder, Tokenizer tokenizer);
  ~Spool();

  // A document is begun, extended any number of times, then ended or dropped. BOS and EOS are added
  // here. Throws Error for an id outside the tokenizer's vocabulary.
  void begin(int64_t source, uint64_t key);
  void extend(std::span<const int32_t> ids, int64_t text_bytes);
  void end();
  void drop();

  int64_t documents() const;
  int64_t tokens() const;
  const Tokenizer& tokenizer() const { return tokenizer_; }
  void for_each(const std::function<void(const Document&)>& f);
  // As they lie in a shard: u16 or u32.
  void read_tokens(int64_t first, int64_t count, char* out);
  int64_t token_bytes() const;

 private:
  class Column;
  void put(std::span<const int32_t> ids);

  Tokenizer tokenizer_;
  std::vector<uint16_t> narrow_;
  Document open_;
  std::unique_ptr<Column> tokens_, documents_;
};

// Writes the documents of the spool that keep() wants to one shard, which appears whole or not at
// all. A shard of this name is replaced. Throws Error where no document is kept. sources: of all;
// how many documents of each the shard holds is counted here.
ShardInfo write_shard(Disk& disk, const Path& path, Spool& spool, std::vector<Source> sources,
                      const std::function<bool(const Spool::Document&)>& keep);

}  // namespace limpid
