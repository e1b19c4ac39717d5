#include "train/trainer.h"

#include <algorithm>
#include <cmath>

#include "kernels/reduce.h"
#include "model/count.h"

namespace limpid {

void TrainConfig::fields(Fields& f) {
  static constexpr const char* kResumes[] = {"auto", "never"};
  static constexpr const char* kRecomputes[] = {"none", "selective", "full"};
  f.field("steps", steps, "optimizer steps of the whole run", kNotNegative);
  f.field("batch", batch, "sequences a step", kPositive);
  f.field("micro_batch", micro_batch,
          "sequences at a time, a divisor of batch; gradients add up over them", kPositive);
  f.field("ramp_batch", ramp_batch,
          "sequences of the first step, from which the batch grows to its size; 0: no ramp",
          kNotNegative);
  f.field("ramp_samples", ramp_samples, "sequences over which it grows", kNotNegative);
  f.field("resume", resume, kResumes,
          "auto goes on from the run's newest checkpoint; never refuses a folder that has one");
  f.field("recompute", recompute, kRecomputes,
          "activations made again in backward: none, selective (norms and MLP activations) or full "
          "(whole blocks)");
  f.field("max_skipped", max_skipped,
          "steps in a row whose loss or gradient is not finite before the run stops", kPositive);
}

void TrainConfig::check(Problems& p) const {
  p.require(batch % micro_batch == 0, "micro_batch", "{} does not divide batch = {}", micro_batch,
            batch);
  p.require(ramp_batch == 0 || (ramp_batch % micro_batch == 0 && batch % ramp_batch == 0),
            "ramp_batch", "{} must be a multiple of micro_batch = {} and divide batch = {}",
            ramp_batch, micro_batch, batch);
  p.require((ramp_batch == 0) == (ramp_samples == 0), "ramp_samples",
            "and ramp_batch go together: set both, or neither");
}

int64_t TrainConfig::batch_at(int64_t samples) const {
  if (ramp_batch == 0 || samples >= ramp_samples) return batch;
  const int64_t stages = (batch - ramp_batch) / ramp_batch;
  return ramp_batch + int64_t(double(samples) / double(ramp_samples) * double(stages)) * ramp_batch;
}

void ValidationConfig::fields(Fields& f) {
  f.field("every", every,
          "steps between two scorings of the validation sets, and once at the end; 0: never",
          kNotNegative);
}

Trainer::Trainer(Stream& stream, const Parts& parts)
    : stream_(stream),
      parts_(parts),
      saved_(stream.device, 0, "activations"),
      scratch_(stream.device, 0, "scratch"),
      norm_(parts.model.params(), stream.device) {
  const ModelConfig& model = parts.model.config();
  const MemoryNeed need =
      memory_need(model, parts.config.micro_batch, model.context, parts.config.recompute);
  saved_ = Arena(stream.device, need.saved, "activations (train.micro_batch, train.recompute)");
  scratch_ = Arena(stream.device, need.scratch, "scratch (train.micro_batch, model.head_rows)");
  const DType dtype = accum_dtype(model.float_type());
  const int64_t bytes = aligned(parts.config.batch * model.context * size_of(dtype));
  losses_ = Buffer(stream.device, bytes + kAlignment, "losses");
  total_ = losses_.tensor(bytes, {1}, DType::f64);
}

Ctx Trainer::context(const Batch& batch, int64_t step) {
  return {.stream = stream_,
          .saved = saved_,
          .scratch = scratch_,
          .dtype = parts_.model.config().float_type(),
          .recompute = parts_.config.recompute,
          .training = true,
          .seed = uint64_t(parts_.seed),
          .step = step,
          .first_sample = batch.first_sample,
          .document_start = batch.document_start};
}

std::optional<StepResult> Trainer::step(Progress& progress, const std::function<bool()>& stop) {
  const TrainConfig& config = parts_.config;
  const int64_t samples = config.batch_at(progress.samples), T = parts_.model.config().context;
  const DType dtype = accum_dtype(parts_.model.config().float_type());
  const Tensor losses = losses_.tensor(0, {samples, T}, dtype);
  const float mean = float(1.0 / double(samples * T));

  parts_.model.params().zero_gradients(stream_);
  for (int64_t at = 0; at < samples; at += config.micro_batch) {
    if (stop()) return {};
    const Batch& batch = parts_.batches.get(progress.samples + at, config.micro_batch);
    const Arena::Scope scope(saved_);
    Ctx ctx = context(batch, progress.step);
    Model::Saved saved;
    parts_.model.forward(ctx, batch.tokens, saved);
    parts_.model.backward(ctx, losses.slice(at, at + config.micro_batch), batch.tokens,
                          batch.targets, mean, saved);
  }
  sum(stream_, total_, losses);
  norm_.clip(stream_, total_, parts_.optimizer_config.clip);

  StepResult result{
      .loss = *total_.as<double>() / double(samples * T),
      .grad_norm = *norm_.norm().as<double>(),
      .lr = parts_.optimizer_config.lr * parts_.schedule.ratio(progress.step, config.steps),
      .first_sample = progress.samples,
      .samples = samples};
  result.skipped = !std::isfinite(result.loss) || !std::isfinite(result.grad_norm);
  if (!result.skipped)
    parts_.optimizer.update(stream_, progress.step + 1, result.lr, norm_.factor());
  progress.skipped_in_a_row = result.skipped ? progress.skipped_in_a_row + 1 : 0;
  require(progress.skipped_in_a_row < config.max_skipped,
          "step {}: loss {} and gradient norm {}: the {}th step in a row that is not finite; lower "
          "optimizer.lr, "
          "lengthen schedule.warmup_steps or go back to an older checkpoint",
          progress.step + 1, result.loss, result.grad_norm, progress.skipped_in_a_row);
  progress.step += 1;
  progress.samples += samples;
  progress.tokens += samples * T;
  return result;
}

std::optional<double> Trainer::validate(ValidationSet& set, const std::function<bool()>& stop) {
  const DType dtype = accum_dtype(parts_.model.config().float_type());
  double loss = 0;
  int64_t tokens = 0;
  for (int64_t at = 0; at < set.sequences(); at += parts_.config.micro_batch) {
    if (stop()) return {};
    const Batch& batch = set.get(at, std::min(parts_.config.micro_batch, set.sequences() - at));
    const Arena::Scope scope(saved_);
    Ctx ctx = context(batch, 0);
    ctx.training = false;
    const Tensor losses = saved_.alloc(batch.tokens.shape, dtype, "losses");
    parts_.model.evaluate(ctx, losses, batch.tokens, batch.targets);
    sum(stream_, total_, losses);
    loss += *total_.as<double>();
    tokens += losses.numel();
  }
  return loss / double(tokens);
}

}  // namespace limpid
