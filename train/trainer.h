#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <optional>
#include <vector>

#include "checkpoint/state.h"
#include "core/graph.h"
#include "data/batches.h"
#include "model/model.h"
#include "optim/clip.h"
#include "optim/optimizer.h"
#include "optim/schedule.h"
#include "train/feed.h"

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
  int64_t step = 0;    // steps done with this one
  int64_t tokens = 0;  // since step 0, with this step's
  int64_t first_sample = 0, samples = 0;
  double loss = 0;       // mean over the batch, nats a token
  double grad_norm = 0;  // before clipping
  double lr = 0;
  double seconds = 0;       // since the step before was done, or this one begun
  bool skipped = false;     // loss or norm was not finite: parameters and moments stayed
  std::string digest = {};  // of the parameters after it
};

// Runs steps of one model: micro-batches forward and backward, clipping, the optimizer. Owns the
// activations' memory. A GPU is given a step before the one before is done, so that it never waits
// for the host.
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

  // Gives the device one step on the samples that come next and moves progress on. False, and
  // nothing changed, where `stop` says so between micro-batches.
  bool begin_step(Progress&, const std::function<bool()>& stop);
  // The oldest step begun and not yet told of; nothing while at most `ahead` are. Waits for it.
  // Counts it in progress.skipped_in_a_row, and throws Error after max_skipped such.
  std::optional<StepResult> finish_step(Progress&, int64_t ahead);
  // How many steps the device should be ahead of what is told.
  int64_t ahead() const { return stream_.device == Device::cuda ? 1 : 0; }
  // Mean loss, nats a token, of a validation set; nothing where `stop` says so.
  std::optional<double> validate(ValidationSet&, const std::function<bool()>& stop);

  const Arena& saved() const { return saved_; }
  const Arena& scratch() const { return scratch_; }

 private:
  // What a step leaves for the host to see.
  struct Outcome {
    StepResult result;
    Fence done;
    Tensor loss, norm;  // (1) f64, on the host
    Tensor digest;      // (2) u64, on the host
  };
  static constexpr int64_t kOutcomes = 2;

  Ctx context(const Batch&, int64_t step);
  // Forward and backward of a micro-batch: gradients +=, losses (B,T) =.
  void micro_step(const Batch&, Tensor losses, float scale, int64_t step);
  // The same at the price of one launch where that gives the same numbers.
  void replay(const Feed::Fed&, Tensor losses, float scale, int64_t step);
  void update(const Progress&, StepResult, Tensor losses);

  Stream& stream_;
  Parts parts_;
  Arena saved_, scratch_;
  GradientNorm norm_;
  Feed feed_;
  std::vector<NamedTensor> values_;
  Buffer results_;  // on the device
  Tensor losses_;   // (batch,T) of a step
  Tensor micro_losses_;
  Tensor total_;   // (1) f64
  Tensor digest_;  // (2) u64
  Buffer told_;    // on the host
  std::array<Outcome, kOutcomes> outcomes_;
  int64_t begun_ = 0, finished_ = 0;  // steps of this process
  std::chrono::steady_clock::time_point last_;
  struct Recorded {
    Graph graph;
    int64_t seen = 0;  // micro-batches of this kind so far
    Shape shape;
    float scale = 0;
  };
  std::array<Recorded, Feed::kPlaces> recorded_;
};

}  // namespace limpid
