#pragma once

#include <memory>
#include <optional>

#include "checkpoint/journal.h"
#include "checkpoint/save.h"
#include "checkpoint/snapshot.h"
#include "checkpoint/tensorboard.h"
#include "train/trainer.h"

namespace limpid {

// What the account of every checkpoint repeats.
struct RunTexts {
  std::string recipe;       // resolved, TOML
  std::string config_json;  // the same values
};

// A run on disk: its journal, its checkpoints, its TensorBoard events; and the state of model,
// optimizer and progress that they hold.
class Run {
 public:
  struct Parts {
    const CheckpointConfig& checkpoint;
    Path folder;
    bool tensorboard;
    Stream& stream;
    Model& model;
    Optimizer& optimizer;
    Batches& batches;
  };
  // Takes the folder's lock. Throws Error where another process has it.
  Run(const Parts&, RunTexts);

  // Goes on from the newest checkpoint without damage, or begins: initial values from the seed.
  // `check` is given the recipe of that checkpoint, and throws where it does not fit.
  Progress begin(int64_t seed, Resume, const std::function<void(const std::string& recipe)>& check);
  // Journals a step that was done; returns its record.
  StepRecord step(const StepResult&);
  void validation(int64_t step, const std::string& name, double loss);
  void event(int64_t step, const std::string& kind, const std::string& text);
  bool due(const Progress& progress) const { return checkpoints_.due(progress.step); }
  // Writes a checkpoint of the state as it is now, unless there is one of this step. Where that
  // fails the run goes on: a warning and an event say so, and false is returned.
  bool save(const Progress&);
  Path checkpoint_folder(int64_t step) const { return checkpoints_.folder(step); }

 private:
  // The tensors are those of the host.
  State state(const Progress&) const;
  Account account(const Progress&) const;

  Parts parts_;
  RunTexts texts_;
  Snapshot values_, optimizer_;
  Checkpoints checkpoints_;
  Journal journal_;
  std::unique_ptr<TensorBoard> tensorboard_;
  int64_t saved_step_ = -1;
  int64_t saved_samples_ = 0;
  // Since the checkpoint before:
  std::vector<StepRecord> metrics_;
  std::vector<ValidationRecord> validation_;
  std::vector<Event> events_;
};

// Makes a stream choose the kernels that describe_environment() told of.
void choose_kernels_again(Stream&, const std::string& environment_json);
// What a checkpoint holds of them, by name.
std::vector<NamedTensor> named_values(const Params&);
std::vector<NamedTensor> named_state(const Optimizer&);
// SHA-256 over (corpus, epoch, window) of each sample, each as a little-endian i64.
std::string hash_order(const Order&, int64_t first, int64_t count);
// Paths, hashes, sizes of the corpora, as JSON.
std::string describe_data(Batches&);
// Commit, compiler, libraries, host, threads, device and the kernels chosen for it, as JSON.
std::string describe_environment(Stream&);

}  // namespace limpid
