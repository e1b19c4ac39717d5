#pragma once

#include <atomic>
#include <limits>
#include <optional>

#include "core/file.h"

namespace limpid {

// The real disk, one of whose changes fails: either that one alone (an error of the device), or it
// and all that follow (the process was killed there; a write is then half done).
class FaultDisk : public Disk {
 public:
  enum class Kind { error, kill };
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

  FaultDisk() = default;
  // Counts from 0 again; the change number `at` fails.
  void arm(Kind kind, int64_t at);
  int64_t changes() const { return changes_; }
  // What free_bytes() says instead of the truth.
  std::optional<int64_t> claimed_free;

  std::unique_ptr<File> create(const Path&) override;
  std::unique_ptr<File> open(const Path&) override;
  std::unique_ptr<File> open_append(const Path&) override;
  void rename(const Path& from, const Path& to) override;
  void make_folders(const Path&) override;
  void remove_all(const Path&) override;
  void sync_folder(const Path&) override;
  int64_t free_bytes(const Path&) override;

  // Counts one change; false where it fails. Throws Error for what comes after a kill.
  bool passes();
  void check(const Path&);

 private:
  std::atomic<int64_t> changes_ = 0;
  int64_t at_ = kNever;
  Kind kind_ = Kind::error;
};

}  // namespace limpid
