#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "checkpoint/manifest.h"
#include "checkpoint/run_lock.h"
#include "checkpoint/state.h"
#include "core/fields.h"
#include "core/file.h"

namespace limpid {

struct CheckpointConfig {
  int64_t every = 1000;
  std::vector<int64_t> at;

  void fields(Fields& f) {
    f.field("every", every,
            "save a checkpoint each time this many steps are done; 0: only at the end",
            kNotNegative);
    f.field("at", at, "save after these numbers of steps too; 0: before the first");
  }
  bool due(int64_t steps_done) const;
};

// The checkpoints of one run, RUN/checkpoints/step-00000400 ... Only one process at a time may hold
// them.
class Checkpoints {
 public:
  // Makes the folders, takes the run's lock and removes what an interrupted save left. Throws Error
  // naming the holder where another process has the run.
  Checkpoints(const CheckpointConfig&, const Path& run, Disk& disk = real_disk());

  bool due(int64_t steps_done) const { return config_.due(steps_done); }
  const std::string& run_id() const { return lock_.run_id(); }
  Path folder(int64_t step) const;
  std::vector<int64_t> steps() const;  // of every checkpoint that stands there, ascending

  // Writes step-%08d, whole or not at all; returns when it is on disk and was read back. Throws
  // Error where it cannot: then nothing of it is left, the checkpoints before are as they were, and
  // the run may go on.
  void save(const State&, const Account&);

  // The newest checkpoint with no damage; warns about each newer one and why. Reads all its bytes.
  std::optional<int64_t> newest_verified();
  // Fills the tensors of `into` and sets its step and counters. Throws Error where names, shapes or
  // dtypes differ (a line each, before anything is read), or on damage (the tensors are then
  // useless).
  void load(int64_t step, State& into);
  // load() of the newest checkpoint with no damage, each byte read once: newest_verified() and
  // load() in one.
  std::optional<int64_t> load_newest(State& into);

 private:
  // What is wrong with a checkpoint, or nothing: then `into` is filled.
  std::vector<std::string> try_load(int64_t step, State& into);
  std::vector<std::string> foreign(const Manifest&) const;

  CheckpointConfig config_;
  Path folder_;
  Disk& disk_;
  RunLock lock_;
  std::optional<ManifestParent> parent_;  // saved or loaded last by this process
};

}  // namespace limpid
