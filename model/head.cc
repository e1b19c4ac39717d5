#include "model/head.h"

#include <algorithm>

#include "kernels/cross_entropy.h"
#include "kernels/matmul.h"

namespace limpid {
namespace {

// (B,T,C) as (B*T,C).
Tensor flat(Tensor x) { return x.reshape({x.rows(), x.cols()}); }

}  // namespace

Head::Head(const ModelConfig& config, Param& weight)
    : rows_at_a_time_(config.head_rows), weight_(weight) {}

void Head::logits(Ctx& ctx, Tensor logits, Tensor x) const {
  matmul(ctx.stream, logits, x, weight_.value, {.transpose_b = true});
}

void Head::loss(Ctx& ctx, Tensor losses, Tensor x, Tensor targets) const {
  const int64_t rows = x.rows();
  const Tensor all_losses = losses.reshape({rows}), all_targets = targets.reshape({rows});
  for (int64_t at = 0; at < rows; at += rows_at_a_time_) {
    const int64_t end = std::min(rows, at + rows_at_a_time_);
    const Arena::Scope scope(ctx.scratch);
    const Tensor z = ctx.temp({end - at, weight_.shape[0]}, "logits");
    logits(ctx, z, flat(x).slice(at, end));
    cross_entropy_forward(ctx.stream, all_losses.slice(at, end), z, all_targets.slice(at, end));
  }
}

void Head::loss_backward(Ctx& ctx, Tensor losses, Tensor dx, Tensor x, Tensor targets,
                         float scale) {
  const int64_t rows = x.rows();
  const Tensor all_losses = losses.reshape({rows}), all_targets = targets.reshape({rows});
  for (int64_t at = 0; at < rows; at += rows_at_a_time_) {
    const int64_t end = std::min(rows, at + rows_at_a_time_);
    const Arena::Scope scope(ctx.scratch);
    const Tensor z = ctx.temp({end - at, weight_.shape[0]}, "logits");
    const Tensor some = flat(x).slice(at, end);
    logits(ctx, z, some);
    cross_entropy_backward(ctx.stream, all_losses.slice(at, end), z, all_targets.slice(at, end),
                           scale);
    matmul(ctx.stream, flat(dx).slice(at, end), z, weight_.value);
    matmul(ctx.stream, weight_.grad, z, some, {.transpose_a = true, .accumulate = true});
  }
}

}  // namespace limpid
