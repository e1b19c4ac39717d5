#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/file.h"

namespace limpid {

// Where ranks find one another: small values by key, each written once. A key is at most 200 of
// the characters A-Z a-z 0-9 . _ - and /; a value at most 1 MiB. Any thread may call.
class Store {
 public:
  static constexpr size_t kMaxKey = 200;
  static constexpr size_t kMaxValue = 1 << 20;

  virtual ~Store() = default;
  // False where the key has a value already, which stays.
  bool set(std::string_view key, std::string_view value);
  std::optional<std::string> get(std::string_view key);
  // The value as soon as there is one; none where that takes longer than the timeout.
  std::optional<std::string> wait(std::string_view key, std::chrono::milliseconds timeout);

 private:
  virtual bool put(const std::string& key, std::string_view value) = 0;
  virtual std::optional<std::string> find(const std::string& key) = 0;
};

// Throws Error unless the key is one of a Store.
void require_key(std::string_view key);

// For the threads of one process.
std::unique_ptr<Store> memory_store();

// Files in folder/job, where folder is one that all ranks see. `job` names one start of one job
// (job, step, restart), so that what an earlier one left is never read.
std::unique_ptr<Store> file_store(const Path& folder, const std::string& job);

// Rank 0 serves at the port, all others (and it) ask there. Throws Error where nobody answers
// within the timeout, or somebody who serves another job.
std::unique_ptr<Store> tcp_store(const std::string& host, int port, const std::string& job,
                                 bool serve, std::chrono::milliseconds timeout);

}  // namespace limpid
