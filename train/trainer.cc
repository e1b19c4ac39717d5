#include "train/trainer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "checkpoint/digest.h"
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
      norm_(parts.model.params(), stream.device),
      feed_(stream, parts.config.micro_batch, parts.model.config().context,
            parts.model.config().vocab) {
  const ModelConfig& model = parts.model.config();
  const MemoryNeed need =
      memory_need(model, parts.config.micro_batch, model.context, parts.config.recompute);
  saved_ = Arena(stream.device, need.saved, "activations (train.micro_batch, train.recompute)");
  scratch_ = Arena(stream.device, need.scratch, "scratch (train.micro_batch, model.head_rows)");
  for (const Param& param : parts.model.params()) values_.push_back({param.name, param.value});

  const DType dtype = accum_dtype(model.float_type());
  const Shape whole = {parts.config.batch, model.context};
  const Shape micro = {parts.config.micro_batch, model.context};
  const int64_t bytes = aligned(whole.numel() * size_of(dtype));
  const int64_t micro_bytes = aligned(micro.numel() * size_of(dtype));
  results_ = Buffer(stream.device, bytes + micro_bytes + 2 * kAlignment, "losses");
  losses_ = results_.tensor(0, whole, dtype);
  micro_losses_ = results_.tensor(bytes, micro, dtype);
  total_ = results_.tensor(bytes + micro_bytes, {1}, DType::f64);
  digest_ = results_.tensor(bytes + micro_bytes + kAlignment, {2}, DType::u64);
  told_ = Buffer::pinned(stream.device, kOutcomes * 4 * 8, "results of steps");
  for (int64_t i = 0; i < kOutcomes; ++i) {
    outcomes_[size_t(i)].loss = told_.tensor(i * 32, {1}, DType::f64);
    outcomes_[size_t(i)].norm = told_.tensor(i * 32 + 8, {1}, DType::f64);
    outcomes_[size_t(i)].digest = told_.tensor(i * 32 + 16, {2}, DType::u64);
  }
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

void Trainer::micro_step(const Batch& batch, Tensor losses, float scale, int64_t step) {
  const Arena::Scope scope(saved_);
  Ctx ctx = context(batch, step);
  Model::Saved saved;
  parts_.model.forward(ctx, batch.tokens, saved);
  parts_.model.backward(ctx, losses, batch.tokens, batch.targets, scale, saved);
}

// Two run as they are first, so that libraries have chosen and scratch has grown. Dropout's masks
// differ from step to step, which a recorded graph cannot know.
void Trainer::replay(const Feed::Fed& fed, Tensor losses, float scale, int64_t step) {
  constexpr int64_t kAsTheyAre = 2;
  Recorded& recorded = recorded_[size_t(fed.place)];
  const Shape& shape = fed.batch.tokens.shape;
  if (recorded.shape != shape || recorded.scale != scale)
    recorded = {.graph = {}, .seen = 0, .shape = shape, .scale = scale};
  const bool same = stream_.device == Device::cuda && parts_.model.config().dropout == 0;
  if (!same || recorded.seen++ < kAsTheyAre) return micro_step(fed.batch, losses, scale, step);
  if (!recorded.graph)
    recorded.graph.record(stream_, [&] { micro_step(fed.batch, losses, scale, step); });
  recorded.graph.run(stream_);
}

bool Trainer::begin_step(Progress& progress, const std::function<bool()>& stop) {
  require(begun_ - finished_ < kOutcomes, "{} steps are begun and not finished", kOutcomes);
  const TrainConfig& config = parts_.config;
  const int64_t samples = config.batch_at(progress.samples), T = parts_.model.config().context;
  const float scale = float(1.0 / double(samples * T));
  if (begun_ == finished_) last_ = std::chrono::steady_clock::now();

  parts_.model.params().zero_gradients(stream_);
  for (int64_t at = 0; at < samples; at += config.micro_batch) {
    if (stop()) return false;
    const Feed::Fed fed =
        feed_.next(stream_, parts_.batches.get(progress.samples + at, config.micro_batch));
    replay(fed, micro_losses_, scale, progress.step);
    feed_.used(stream_);
    copy(stream_, losses_.slice(at, at + config.micro_batch), micro_losses_);
  }
  update(progress,
         {.step = progress.step + 1,
          .tokens = progress.tokens + samples * T,
          .first_sample = progress.samples,
          .samples = samples,
          .lr = parts_.optimizer_config.lr * parts_.schedule.ratio(progress.step, config.steps)},
         losses_.slice(0, samples));
  progress.step += 1;
  progress.samples += samples;
  progress.tokens += samples * T;
  return true;
}

void Trainer::update(const Progress& progress, StepResult result, Tensor losses) {
  sum(stream_, total_, losses);
  norm_.clip(stream_, total_, parts_.optimizer_config.clip);
  parts_.optimizer.update(stream_, progress.step + 1, result.lr, norm_.factor());
  zero(stream_, digest_);
  add_digests(stream_, digest_, values_);

  Outcome& outcome = outcomes_[size_t(begun_++ % kOutcomes)];
  outcome.result = std::move(result);
  copy(stream_, outcome.loss, total_);
  copy(stream_, outcome.norm, norm_.norm());
  copy(stream_, outcome.digest, digest_);
  outcome.done.record(stream_);
}

std::optional<StepResult> Trainer::finish_step(Progress& progress, int64_t ahead) {
  if (begun_ - finished_ <= ahead) return {};
  Outcome& outcome = outcomes_[size_t(finished_++ % kOutcomes)];
  outcome.done.wait();
  StepResult& result = outcome.result;
  result.loss = *outcome.loss.as<double>() / double(result.samples * parts_.model.config().context);
  result.grad_norm = *outcome.norm.as<double>();
  result.digest = digest_text(outcome.digest.as<const uint64_t>());
  result.skipped = !std::isfinite(result.loss) || !std::isfinite(result.grad_norm);
  const auto now = std::chrono::steady_clock::now();
  result.seconds = std::chrono::duration<double>(now - std::exchange(last_, now)).count();
  progress.skipped_in_a_row = result.skipped ? progress.skipped_in_a_row + 1 : 0;
  require(progress.skipped_in_a_row < parts_.config.max_skipped,
          "step {}: loss {} and gradient norm {}: the {}th step in a row that is not finite; lower "
          "optimizer.lr, lengthen schedule.warmup_steps or go back to an older checkpoint",
          result.step, result.loss, result.grad_norm, progress.skipped_in_a_row);
  return result;
}

std::optional<double> Trainer::validate(ValidationSet& set, const std::function<bool()>& stop) {
  const DType dtype = accum_dtype(parts_.model.config().float_type());
  Buffer host;
  double loss = 0;
  int64_t tokens = 0;
  for (int64_t at = 0; at < set.sequences(); at += parts_.config.micro_batch) {
    if (stop()) return {};
    const Batch& batch =
        feed_.next(stream_, set.get(at, std::min(parts_.config.micro_batch, set.sequences() - at)))
            .batch;
    const Arena::Scope scope(saved_);
    Ctx ctx = context(batch, 0);
    ctx.training = false;
    const Tensor losses = saved_.alloc(batch.tokens.shape, dtype, "losses");
    parts_.model.evaluate(ctx, losses, batch.tokens, batch.targets);
    feed_.used(stream_);
    sum(stream_, total_, losses);
    loss += *on_host(stream_, total_, host).as<double>();
    tokens += losses.numel();
  }
  return loss / double(tokens);
}

}  // namespace limpid
