#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/manifest.h"
#include "checkpoint/state.h"
#include "core/hdf5.h"

namespace limpid {

// One finished checkpoint, read only. Every byte is checked against the manifest as it is read, and
// no file reaches the HDF5 library before; the large tensors never do.
class CheckpointReader {
 public:
  // Reads the manifest. Throws Error where it does not hold.
  explicit CheckpointReader(const Path& folder);
  ~CheckpointReader();
  CheckpointReader(CheckpointReader&&) noexcept;

  const Path& folder() const { return folder_; }
  const Manifest& manifest() const { return manifest_; }
  int64_t step() const { return manifest_.step; }

  // How the tensors of a file ("model.h5", "optimizer.h5") differ in name, shape or dtype from
  // those in memory, a line each.
  std::vector<std::string> differences(const std::string& file,
                                       std::span<const NamedTensor> memory) const;
  // Fills tensors that exist. Throws Error with all differences before it reads, or naming file and
  // tensor where bytes are damaged; those in memory are useless then.
  void read(const std::string& file, std::span<const NamedTensor> into) const;
  // The same for those named alone, others of the file are not read.
  void read_some(const std::string& file, std::span<const NamedTensor> into) const;
  // What is damaged instead of an Error; differences() must be none.
  std::vector<std::string> try_read(const std::string& file,
                                    std::span<const NamedTensor> into) const;
  // What is damaged in a whole file, or nothing. Keeps none of it.
  std::vector<std::string> check(const std::string& file) const;

  // From account.h5, which is checked and opened at the first use.
  std::string recipe() const;
  std::string config_json() const;
  std::string tokenizer() const;
  std::string data_json() const;
  std::string environment_json() const;
  std::map<std::string, int64_t> counters() const;
  OrderLog order() const;
  std::vector<StepRecord> metrics() const;
  std::vector<ValidationRecord> validation() const;
  std::vector<Event> events() const;

 private:
  const hdf5::Reader& account() const;

  Path folder_;
  Manifest manifest_;
  mutable std::unique_ptr<hdf5::Reader> account_;
};

// The reader of a folder, or nothing and why not.
std::optional<CheckpointReader> try_open(const Path& folder, std::string& why_not);

// Reads every byte of a checkpoint: what is wrong with it, a line each, with file and tensor. Empty
// where nothing is.
std::vector<std::string> find_damage(const Path& folder);

}  // namespace limpid
