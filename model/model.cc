#include "model/model.h"

#include <functional>

namespace limpid {
namespace {

std::vector<std::unique_ptr<Block>> make_blocks(Params& params, const ModelConfig& config,
                                                const Tensor& rope_table) {
  std::vector<std::unique_ptr<Block>> blocks;
  for (int64_t i = 0; i < config.layers; ++i)
    blocks.push_back(std::make_unique<Block>(params, format("layers.{}", i), config, rope_table));
  return blocks;
}

// The context of a block whose activations are made again in backward: they live as long as the
// block runs.
Ctx without_saving(Ctx& ctx) {
  return {.stream = ctx.stream,
          .saved = ctx.scratch,
          .scratch = ctx.scratch,
          .dtype = ctx.dtype,
          .recompute = ctx.recompute,
          .training = ctx.training,
          .seed = ctx.seed,
          .step = ctx.step,
          .first_sample = ctx.first_sample,
          .document_start = ctx.document_start};
}

// Runs x through all blocks between two buffers that take turns, and through the last norm; returns
// it, in scratch.
Tensor run_blocks(Ctx& ctx, Tensor x, size_t blocks,
                  const std::function<void(Ctx&, size_t, Tensor y, Tensor x)>& block) {
  Ctx inner = without_saving(ctx);
  Tensor y = inner.temp(x.shape, "residual");
  for (size_t i = 0; i < blocks; ++i) {
    const Arena::Scope scope(inner.scratch);
    block(inner, i, y, x);
    std::swap(x, y);
  }
  return x;
}

}  // namespace

Model::Cache::Cache(const ModelConfig& config, int64_t sequences, int64_t positions) {
  const Shape shape = {sequences, positions, config.key_heads(), config.head_dim()};
  const int64_t bytes = aligned(shape.numel() * size_of(config.float_type()));
  buffer_ = Buffer(Device::cpu, 2 * bytes * config.layers, "keys and values");
  for (int64_t i = 0; i < config.layers; ++i)
    layers.push_back({.keys = buffer_.tensor(2 * i * bytes, shape, config.float_type()),
                      .values = buffer_.tensor((2 * i + 1) * bytes, shape, config.float_type())});
}

Model::Model(const ModelConfig& config, Device device, bool with_gradients)
    : config_(config),
      embedding_(params_, config_),
      blocks_(make_blocks(params_, config_, rope_table_)),
      norm_(params_, "norm", config_),
      untied_head_(config_.tied_head ? nullptr
                                     : &params_.add("head.weight", {config_.vocab, config_.width},
                                                    {.deviation = config_.init_deviation})),
      head_(config_, untied_head_ ? *untied_head_ : embedding_.weight()) {
  params_.allocate(device, config_.float_type(), with_gradients);
  if (config_.is_gpt()) return;
  const Shape table = {config_.context, 2, config_.head_dim() / 2};
  const DType dtype = accum_dtype(config_.float_type());
  rope_buffer_ = Buffer(device, table.numel() * size_of(dtype), "rotary table");
  rope_table_ = rope_buffer_.tensor(0, table, dtype);
  Stream stream(device);
  Buffer staging;
  const Tensor host = host_twin(stream, rope_table_, staging);
  limpid::rope_table(host, config_.rope_theta, config_.rope_scaling);
  copy(stream, rope_table_, host);
  synchronize(stream);
}

void Model::forward(Ctx& ctx, Tensor tokens, Saved& s) const {
  const Shape shape = {tokens.shape[0], tokens.shape[1], config_.width};
  s.x = {ctx.save(shape, "residual")};
  s.blocks.assign(blocks_.size(), {});
  embedding_.forward(ctx, s.x[0], tokens, 0);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    s.x.push_back(ctx.save(shape, "residual"));
    const Arena::Scope scope(ctx.scratch);
    Ctx inner = ctx.recompute == Recompute::full ? without_saving(ctx) : ctx;
    blocks_[i]->forward(inner, s.x[i + 1], s.x[i], s.blocks[i]);
  }
  s.h = ctx.save(shape, "norm");
  norm_.forward(ctx, s.h, s.x.back(), s.norm);
}

void Model::backward(Ctx& ctx, Tensor losses, Tensor tokens, Tensor targets, float scale,
                     Saved& s) {
  const Arena::Scope whole(ctx.scratch);
  const Tensor d = ctx.temp(s.h.shape, "gradient of the residual");
  {
    const Arena::Scope scope(ctx.scratch);
    const Tensor dh = ctx.temp(s.h.shape, "gradient of a norm's output");
    head_.loss_backward(ctx, losses, dh, s.h, targets, scale);
    zero(ctx.stream, d);
    norm_.backward_add(ctx, d, dh, s.x.back(), s.norm);
  }
  for (size_t i = blocks_.size(); i-- > 0;) {
    const Arena::Scope scope(ctx.scratch);
    Ctx inner = ctx.recompute == Recompute::full ? without_saving(ctx) : ctx;
    if (ctx.recompute == Recompute::full)
      blocks_[i]->forward(inner, s.x[i + 1], s.x[i], s.blocks[i]);
    blocks_[i]->backward(inner, d, s.x[i], s.blocks[i]);
  }
  embedding_.backward(ctx, d, tokens);
}

Tensor Model::hidden(Ctx& ctx, Tensor tokens) const {
  const Shape shape = {tokens.shape[0], tokens.shape[1], config_.width};
  const Tensor h = ctx.temp(shape, "norm");
  const Arena::Scope scope(ctx.scratch);
  const Tensor x = ctx.temp(shape, "residual");
  embedding_.forward(ctx, x, tokens, 0);
  const Tensor last =
      run_blocks(ctx, x, blocks_.size(), [&](Ctx& inner, size_t i, Tensor out, Tensor in) {
        Block::Saved unused;
        blocks_[i]->forward(inner, out, in, unused);
      });
  Ctx inner = without_saving(ctx);
  Norm::Saved unused;
  norm_.forward(inner, h, last, unused);
  return h;
}

void Model::evaluate(Ctx& ctx, Tensor losses, Tensor tokens, Tensor targets) const {
  const Arena::Scope scope(ctx.scratch);
  head_.loss(ctx, losses, hidden(ctx, tokens), targets);
}

void Model::logits(Ctx& ctx, Tensor logits, Tensor tokens) const {
  const Arena::Scope scope(ctx.scratch);
  const Tensor h = hidden(ctx, tokens);
  head_.logits(ctx, logits.reshape({logits.rows(), logits.cols()}),
               h.reshape({h.rows(), h.cols()}));
}

void Model::extend(Ctx& ctx, Tensor logits, Tensor tokens, Cache& cache) const {
  const Arena::Scope scope(ctx.scratch);
  const int64_t B = tokens.shape[0], N = tokens.shape[1], C = config_.width;
  require(cache.used + N <= cache.layers[0].keys.shape[1],
          "{} positions are in the cache, {} more do not fit into {}", cache.used, N,
          cache.layers[0].keys.shape[1]);
  const Tensor last_only = ctx.temp({B, C}, "last position");
  const Tensor h = ctx.temp({B, N, C}, "norm");
  const Tensor x = ctx.temp({B, N, C}, "residual");
  embedding_.forward(ctx, x, tokens, cache.used);
  const Tensor last =
      run_blocks(ctx, x, blocks_.size(), [&](Ctx& inner, size_t i, Tensor out, Tensor in) {
        blocks_[i]->extend(inner, out, in, cache.layers[i], cache.used);
      });
  Ctx inner = without_saving(ctx);
  Norm::Saved unused;
  norm_.forward(inner, h, last, unused);
  for (int64_t b = 0; b < B; ++b)
    copy(ctx.stream, last_only.slice(b, b + 1),
         h.reshape({B * N, C}).slice(b * N + N - 1, b * N + N));
  head_.logits(ctx, logits, last_only);
  cache.used += N;
}

}  // namespace limpid
