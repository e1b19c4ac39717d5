#pragma once

#include <string>

#include "core/file.h"

namespace limpid {

// The right to write into a run's folder, held by one process of all machines that share it, and
// the run's id (32 hex digits, RUN/id, made at the first start). Given back when the process ends,
// however it does.
class RunLock {
 public:
  // Throws Error with the holder's host and process where it is taken.
  RunLock(Disk&, const Path& run);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  const std::string& run_id() const { return run_id_; }

 private:
  int descriptor_ = -1;
  std::string run_id_;
};

}  // namespace limpid
