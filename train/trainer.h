#pragma once

#include <functional>
#include <optional>

#include "data/batches.h"
#include "model/model.h"
#include "optim/clip.h"
#include "optim/optimizer.h"
#include "optim/schedule.h"

namespace limpid {

enum class Resume { automatic, never };

struct TrainConfig {
  int64_t steps = 1000;
  int64_t batch = 32;  // sequences a step
  int64_t micro_batch =
      8;                   // sequences at a time; gradients add up over batch / micro_batch of them
  int64_t ramp_batch = 0;  // sequences of the first step; 0 means no ramp
  int64_t ramp_samples = 0;
  Resume resume = Resume::automatic;
  Recompute recompute = Recompute::none;
  int64_t max_skipped = 10;

  void fields(Fields&);
  void check(Problems&) const;
  // Sequences of the step that begins when `samples` have been seen: grows in a line from
  // ramp_batch to batch over ramp_samples, in multiples of ramp_batch (Brown et al. 2020, GPT-3,
  // section B).
  int64_t batch_at(int64_t samples) const;
};

struct ValidationConfig {
  int64_t every = 100;
  bool due(int64_t step, int64_t steps) const {
    return every > 0 && (step % every == 0 || step == steps);
  }

  void fields(Fields&);
};

// How far a run has come; with the parameters and moments, all that it needs to go on.
struct Progress {
  int64_t step = 0;     // steps done
  int64_t samples = 0;  // sequences seen
  int64_t tokens = 0;
  int64_t skipped_in_a_row = 0;
};

struct StepResult {
  double loss = 0;       // mean over the batch, nats a token
  double grad_norm = 0;  // before clipping
  double lr = 0;
  int64_t first_sample = 0, samples = 0;
  bool skipped = false;  // loss or norm was not finite: parameters and moments stayed
};

// Runs steps of one model: micro-batches forward and backward, clipping, the optimizer. Owns the
// activations' memory.
class Trainer {
 public:
  struct Parts {
    const TrainConfig& config;
    const ScheduleConfig& schedule;
    const OptimizerConfig& optimizer_config;
    int64_t seed;
    Model& model;
    Optimizer& optimizer;
    Batches& batches;
  };
  Trainer(Stream&, const Parts&);

  // One step on the samples that come next; moves progress on. Nothing, and nothing changed, where
  // `stop` says so between micro-batches. Throws Error after max_skipped steps in a row that were
  // not finite.
  std::optional<StepResult> step(Progress&, const std::function<bool()>& stop);
  // Mean loss, nats a token, of a validation set; nothing where `stop` says so.
  std::optional<double> validate(ValidationSet&, const std::function<bool()>& stop);

  const Arena& saved() const { return saved_; }
  const Arena& scratch() const { return scratch_; }

 private:
  Ctx context(const Batch&, int64_t step);

  Stream& stream_;
  Parts parts_;
  Arena saved_, scratch_;
  GradientNorm norm_;
  Buffer losses_;  // one a token of a step
  Tensor total_;   // (1) f64
};

}  // namespace limpid
