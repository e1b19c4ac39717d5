#include "eval/perplexity.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/reduce.h"
#include "model/count.h"

namespace limpid {
namespace {

int64_t scratch_bytes(const Model& model, int64_t rows) {
  const ModelConfig& config = model.config();
  const int64_t losses = aligned(rows * config.context * size_of(accum_dtype(config.float_type())));
  return memory_need(config, rows, config.context, Recompute::full).scratch + losses + kAlignment;
}

}  // namespace

double TextScore::perplexity() const { return std::exp(loss()); }
double TextScore::bits_per_byte() const { return nats / (std::numbers::ln2 * bytes); }

TextScorer::TextScorer(const Model& model, int64_t rows)
    : model_(model),
      rows_(rows),
      tokens_(Device::cpu, rows * model.config().context * 4, "tokens"),
      targets_(Device::cpu, rows * model.config().context * 4, "targets"),
      scratch_(Device::cpu, scratch_bytes(model, rows), "scratch") {}

double TextScorer::run(int64_t rows, int64_t columns) {
  const Arena::Scope scope(scratch_);
  Ctx ctx{.stream = stream_,
          .saved = scratch_,
          .scratch = scratch_,
          .dtype = model_.config().float_type()};
  const Shape shape = {rows, columns};
  const Tensor losses = scratch_.alloc(shape, accum_dtype(ctx.dtype), "losses");
  const Tensor total = scratch_.alloc({1}, DType::f64, "total");
  model_.evaluate(ctx, losses, tokens_.tensor(0, shape, DType::i32),
                  targets_.tensor(0, shape, DType::i32));
  sum(stream_, total, losses);
  return *total.as<double>();
}

TextScore TextScorer::score(std::span<const int32_t> ids, double bytes) {
  const int64_t T = model_.config().context;
  TextScore out{.nats = 0, .tokens = int64_t(ids.size()) - 1, .bytes = bytes};
  require(out.tokens > 0,
          "a text of {} tokens cannot be scored: one is context, one at least is scored",
          ids.size());
  for (int64_t at = 0; at < out.tokens;) {
    // Whole windows together; the last, shorter one alone.
    const int64_t left = out.tokens - at, columns = std::min(left, T);
    const int64_t rows = std::clamp<int64_t>(left / columns, 1, rows_);
    std::copy_n(&ids[size_t(at)], rows * columns, static_cast<int32_t*>(tokens_.data()));
    std::copy_n(&ids[size_t(at) + 1], rows * columns, static_cast<int32_t*>(targets_.data()));
    out.nats += run(rows, columns);
    at += rows * columns;
  }
  return out;
}

TextScore TextScorer::score(const TokenShard& shard, const std::function<void(double)>& progress) {
  const int64_t piece = rows_ * model_.config().context, total = shard.tokens() - 1;
  TextScore out;
  std::vector<int32_t> ids;
  for (int64_t at = 0; at < total; at += piece) {
    ids.resize(size_t(std::min(piece, total - at) + 1));
    shard.copy(at, int64_t(ids.size()), ids.data());
    const TextScore part = score(ids, 0);
    out.nats += part.nats;
    out.tokens += part.tokens;
    progress(double(at) / double(total));
  }
  require(out.tokens > 0, "{} has too few tokens to score", shard.path());
  out.bytes = double(shard.info().text_bytes) * double(out.tokens) / double(shard.tokens());
  return out;
}

}  // namespace limpid
