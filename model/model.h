#pragma once

#include <memory>
#include <vector>

#include "model/block.h"
#include "model/embedding.h"
#include "model/head.h"

namespace limpid {

// A decoder-only language model: embedding, blocks, a last norm, head.   B sequences, T tokens, C
// channels, V vocabulary.
class Model {
 public:
  // What forward leaves for backward. The tensors live in Ctx::saved.
  struct Saved {
    std::vector<Tensor> x;  // (B,T,C) what enters block i; the last one leaves them all
    std::vector<Block::Saved> blocks;
    Norm::Saved norm;
    Tensor h;  // (B,T,C) the last norm's output
  };
  // Keys and values of one conversation, for generation.
  class Cache {
   public:
    Cache(const ModelConfig&, int64_t sequences, int64_t positions);
    int64_t used = 0;  // positions
    std::vector<AttentionLayer::Cache> layers;

   private:
    Buffer buffer_;
  };

  // Declares all parameters and gives them memory. Values are zero until params().initialise() or a
  // checkpoint fills them.
  Model(const ModelConfig&, Device, bool with_gradients);
  Model(const Model&) = delete;  // layers refer to each other's parameters
  Model& operator=(const Model&) = delete;

  const ModelConfig& config() const { return config_; }
  Params& params() { return params_; }
  const Params& params() const { return params_; }

  // tokens: (B,T) i32, T at most the config's context.
  void forward(Ctx&, Tensor tokens, Saved&) const;
  // losses: (B,T) nats a token = ; every parameter's gradient += scale * that of the sum of the
  // losses. Uses up what is saved.
  void backward(Ctx&, Tensor losses, Tensor tokens, Tensor targets, float scale, Saved&);
  // Losses alone, in the memory of one block.
  void evaluate(Ctx&, Tensor losses, Tensor tokens, Tensor targets) const;
  // All logits, for tests and scoring: (B,T,V) = .
  void logits(Ctx&, Tensor logits, Tensor tokens) const;
  // Takes N more tokens (B,N) after those in the cache; logits: (B,V) = of the position after the
  // last.
  void extend(Ctx&, Tensor logits, Tensor tokens, Cache&) const;

 private:
  // The last norm's output where nothing is kept for backward, in scratch.
  Tensor hidden(Ctx&, Tensor tokens) const;

  ModelConfig config_;
  Params params_;
  Buffer rope_buffer_;
  Tensor rope_table_;  // (Tmax,2,D/2), or empty
  Embedding embedding_;
  std::vector<std::unique_ptr<Block>> blocks_;
  Norm norm_;
  Param* untied_head_ = nullptr;
  Head head_;
};

}  // namespace limpid
