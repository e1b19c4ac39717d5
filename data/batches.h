#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/fields.h"
#include "core/tensor.h"
#include "data/order.h"
#include "data/shard.h"

// B samples, T context.
namespace limpid {

struct DataConfig {
  std::vector<std::string> train;
  std::vector<double> weights;
  std::vector<std::string> validation;
  int64_t validation_sequences = 256;
  bool document_mask = false;
  int64_t seed = 0;

  void fields(Fields& f);
  void check(Problems& problems) const;
};

struct Batch {
  Tensor tokens;          // (B,T) i32
  Tensor targets;         // (B,T) i32: tokens moved on by one
  Tensor document_start;  // (B,T) i32: the column where this token's document begins, 0 where that
                          // is before the row; empty without document_mask
  int64_t first_sample = 0;
  std::vector<SampleId> ids;  // (B)
};

struct CorpusInfo {
  std::string name;  // its path, or what stands before "="
  std::string path;
  int64_t tokens = 0;
  int64_t windows = 0;
  double weight = 0;  // of 1
  std::string content_hash;
  std::string tokenizer_hash;
};

// The same samples every time: windows spread evenly over one shard.
class ValidationSet {
 public:
  ValidationSet(const DataConfig&, const std::string& entry, int64_t context, int64_t vocab);
  ~ValidationSet();
  ValidationSet(ValidationSet&&) noexcept;

  const CorpusInfo& info() const;
  int64_t sequences() const;
  // Bytes of text a token, over the whole shard: bits per byte = nats per token / (ln 2 * this).
  double bytes_per_token() const;
  // Samples [first, first + count), valid until the next call.
  const Batch& get(int64_t first, int64_t count);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Serves the samples of the Order as tensors, from memory-mapped shards; a thread of its own makes
// the batch that will be asked for next. What get() returns depends on its arguments alone.
class Batches {
 public:
  // context: T. Throws Error where a shard is unsound, is shorter than one window, has another
  // tokenizer than the first, or more ids than the model's vocabulary.
  Batches(const DataConfig&, int64_t context, int64_t vocab_of_model);
  ~Batches();
  Batches(Batches&&) noexcept;

  // Samples [first_sample, first_sample + count), valid until the next call.
  const Batch& get(int64_t first_sample, int64_t count);

  int64_t tokens() const;  // in all train corpora
  const Order& order() const;
  const std::vector<CorpusInfo>& corpora() const;
  std::vector<ValidationSet>& validation();
  const std::string& tokenizer_bytes() const;  // the first shard's

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace limpid
