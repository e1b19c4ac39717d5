#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/manifest.h"
#include "checkpoint/state.h"
#include "core/hdf5.h"

namespace limpid {

// Damage of a checkpoint, against what cannot be used for another reason.
class DamageError : public Error {
 public:
  using Error::Error;
};

// One finished checkpoint, read only. Every byte is checked against the manifest as it is read, and
// no file reaches the HDF5 library before; the large tensors never do.
class CheckpointReader {
 public:
  // Reads the manifest. Throws DamageError where it does not hold.
  explicit CheckpointReader(const Path& folder);
  ~CheckpointReader();

  const Path& folder() const { return folder_; }
  const Manifest& manifest() const { return manifest_; }
  int64_t step() const { return manifest_.step; }

  // Fills tensors that exist. They must be all of the file ("model.h5", "optimizer.h5"), by name,
  // shape and dtype, or Error lists every difference. DamageError names file and tensor.
  void read(const std::string& file, std::span<const NamedTensor> into) const;
  // One tensor of a file.
  void read_one(const std::string& file, const NamedTensor& into) const;

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

// Reads every byte of a checkpoint: what is wrong with it, a line each, with file and tensor. Empty
// where nothing is.
std::vector<std::string> find_damage(const Path& folder);

}  // namespace limpid
