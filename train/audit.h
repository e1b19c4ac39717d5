#pragma once

#include <functional>
#include <string>
#include <vector>

#include "checkpoint/load.h"
#include "train/trainer.h"

namespace limpid {

// What trains again; built by the recipe that the audited checkpoint holds.
struct AuditParts {
  Stream& stream;
  Model& model;
  Optimizer& optimizer;
  Batches& batches;
  Trainer& trainer;
};

// A step done again, beside what the run's account says of it.
struct AuditedStep {
  StepRecord recorded;
  StepResult again;
  std::vector<std::string> differences;  // empty where every bit is the same
};

// Trains from one checkpoint to the next with the recorded order of samples and compares: the
// hashes of the data before it begins; of every step the samples, loss, gradient norm and digest of
// the parameters, each to the bit; where it reaches `to`, every tensor. Returns what differs, the
// first step first; nothing where the account is true. `told` hears of each step as it is done.
// Throws Error where the checkpoints do not follow each other or do not hold.
std::vector<std::string> audit(const AuditParts&, const CheckpointReader& from,
                               const CheckpointReader& to,
                               const std::function<void(const AuditedStep&)>& told);

// Trains from a checkpoint to a step before the next one, comparing as audit() does, and leaves the
// state in model and optimizer; the counters of that state are returned.
// Throws Error naming the first step that differs.
Progress rebuild(const AuditParts&, const CheckpointReader& from, const CheckpointReader& next,
                 int64_t step);

}  // namespace limpid
