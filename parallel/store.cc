#include "parallel/store.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <map>
#include <mutex>
#include <thread>

#include "core/error.h"

namespace limpid {

void require_key(std::string_view key) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-' || c == '/';
  };
  require(
      !key.empty() && key.size() <= Store::kMaxKey && std::all_of(key.begin(), key.end(), allowed),
      "a key of a store has 1 to {} of the characters A-Z a-z 0-9 . _ - /, unlike \"{}\"",
      Store::kMaxKey, key.substr(0, Store::kMaxKey));
}

bool Store::set(std::string_view key, std::string_view value) {
  require_key(key);
  require(value.size() <= kMaxValue, "store: {} has {} bytes; at most {} are possible", key,
          value.size(), kMaxValue);
  return put(std::string(key), value);
}

std::optional<std::string> Store::get(std::string_view key) {
  require_key(key);
  return find(std::string(key));
}

// Asks again and again: ranks come within milliseconds or not for seconds.
std::optional<std::string> Store::wait(std::string_view key, std::chrono::milliseconds timeout) {
  using std::chrono::steady_clock;
  const auto deadline = steady_clock::now() + timeout;
  std::chrono::microseconds pause(200);
  for (;;) {
    if (auto value = get(key)) return value;
    const auto now = steady_clock::now();
    if (now >= deadline) return std::nullopt;
    std::this_thread::sleep_for(std::min<steady_clock::duration>(pause, deadline - now));
    pause = std::min(2 * pause, std::chrono::microseconds(50'000));
  }
}

namespace {

class MemoryStore : public Store {
  bool put(const std::string& key, std::string_view value) override {
    const std::lock_guard lock(mutex_);
    return values_.emplace(key, value).second;
  }
  std::optional<std::string> find(const std::string& key) override {
    const std::lock_guard lock(mutex_);
    const auto at = values_.find(key);
    return at == values_.end() ? std::nullopt : std::optional(at->second);
  }

  std::mutex mutex_;
  std::map<std::string, std::string> values_;
};

// A value is written under a name of its own and then linked to its key's: link() fails where the
// key exists, and nobody ever sees half of a value, on NFS too.
class FileStore : public Store {
 public:
  FileStore(const Path& folder, const std::string& job) : folder_(folder / job) {
    std::error_code failed;
    std::filesystem::create_directories(folder_, failed);
    require(!failed, "store: cannot make {}: {}", folder_.string(), failed.message());
  }

 private:
  Path path_of(std::string key) const {
    std::replace(key.begin(), key.end(), '/', '%');  // one flat folder; % is in no key
    return folder_ / ("=" + key);
  }

  bool put(const std::string& key, std::string_view value) override {
    char host[256] = {};
    gethostname(host, sizeof(host) - 1);
    const Path own =
        folder_ / format(".{}-{}-{}-{}", host, getpid(), uint64_t(uintptr_t(this)), count_++);
    {
      const auto file = real_disk().create(own);
      file->write_at(0, value.data(), int64_t(value.size()));
      file->sync();
    }
    const Path path = path_of(key);
    const int status = link(own.c_str(), path.c_str());
    const int cause = errno;
    unlink(own.c_str());
    errno = cause;
    require(status == 0 || cause == EEXIST, "store: cannot write {}{}", path.string(),
            errno_text());
    return status == 0;
  }

  std::optional<std::string> find(const std::string& key) override {
    const Path path = path_of(key);
    if (!file_exists(path)) return std::nullopt;
    return read_text(path, kMaxValue);
  }

  Path folder_;
  std::atomic<int64_t> count_ = 0;
};

}  // namespace

std::unique_ptr<Store> memory_store() { return std::make_unique<MemoryStore>(); }

std::unique_ptr<Store> file_store(const Path& folder, const std::string& job) {
  require_key(job);
  require(job.find('/') == job.npos && job[0] != '.', "store: \"{}\" cannot be a job's folder",
          job);
  return std::make_unique<FileStore>(folder, job);
}

}  // namespace limpid
