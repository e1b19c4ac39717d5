#pragma once

#include <functional>

#include "data/shard.h"
#include "model/model.h"

namespace limpid {

// Log-likelihood of a text, and what follows from it.
struct TextScore {
  double nats = 0;     // -log p of all scored tokens
  int64_t tokens = 0;  // scored
  double bytes = 0;    // of the text that these stand for

  double loss() const { return nats / double(tokens); }  // nats a token
  double perplexity() const;                             // a token
  double bits_per_byte() const;
};

// Scores sequences with a model in its own memory. B rows of T tokens at a time.
class TextScorer {
 public:
  TextScorer(const Model&, int64_t rows);

  // Every token of ids but the first, which is context only (BOS). Windows of T targets follow each
  // other; the first token of a window is the last target of the window before.
  TextScore score(std::span<const int32_t> ids, double bytes);
  // The same over all tokens of a shard, documents one after another as in training. progress is
  // told the part done, 0 to 1.
  TextScore score(const TokenShard&, const std::function<void(double)>& progress);

 private:
  // rows windows, their inputs (rows,T) and targets in the buffers; returns the sum of losses.
  double run(int64_t rows, int64_t columns);

  const Model& model_;
  int64_t rows_;
  Stream stream_;
  Buffer tokens_, targets_;
  Arena scratch_;
};

}  // namespace limpid
