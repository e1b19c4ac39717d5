#include "checkpoint/run_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>

#include "checkpoint/manifest.h"
#include "checkpoint/nonce.h"
#include "core/log.h"

namespace limpid {
namespace {

std::string this_process() {
  std::array<char, 256> host = {};
  ::gethostname(host.data(), host.size() - 1);
  std::array<char, 32> time = {};
  const std::time_t now = std::time(nullptr);
  std::tm utc = {};
  ::gmtime_r(&now, &utc);
  std::strftime(time.data(), time.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return format("process {} on {} since {}", ::getpid(), host.data(), time.data());
}

int open_lock(const Path& path) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  require(descriptor >= 0, "cannot open {}{}", path.string(), errno_text());
  if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0) return descriptor;
  const int cause = errno;
  if (cause == EWOULDBLOCK) {
    std::array<char, 512> holder = {};
    const ssize_t bytes = ::pread(descriptor, holder.data(), holder.size() - 1, 0);
    ::close(descriptor);
    fail("{} is held by {}: wait for it or stop it; two runs cannot share a folder",
         path.parent_path().string(), bytes > 0 ? holder.data() : "another process");
  }
  warn("{}: this file system has no locks (error {}): nothing keeps a second run out of the folder",
       path.string(), cause);
  return descriptor;
}

bool has_checkpoints(const Path& run) {
  const std::vector<std::string> names = list_folder(checkpoints_folder(run));
  return std::any_of(names.begin(), names.end(),
                     [](const std::string& name) { return step_of_name(name).has_value(); });
}

std::string read_or_make_id(Disk& disk, const Path& run) {
  const Path path = run / "id";
  constexpr const char* kHint = "it stands as \"run\" in each checkpoint's MANIFEST.json";
  if (file_exists(path)) {
    std::string id = read_text(path, 4096);
    if (id.ends_with('\n')) id.pop_back();
    const bool good = id.size() == 32 && id.find_first_not_of("0123456789abcdef") == id.npos;
    require(good, "{}: is not the id of a run (32 hex digits); {}", path.string(), kHint);
    return id;
  }
  require(!has_checkpoints(run), "{} is missing, though there are checkpoints: put it back; {}",
          path.string(), kHint);
  const std::string id = make_nonce(16);
  write_atomically(disk, path, id + "\n");
  return id;
}

}  // namespace

RunLock::RunLock(Disk& disk, const Path& run) {
  disk.make_folders(run);
  const Path path = run / "lock";
  descriptor_ = open_lock(path);
  const std::string holder = this_process();
  const bool said = ::ftruncate(descriptor_, 0) == 0 &&
                    ::pwrite(descriptor_, holder.data(), holder.size(), 0) > 0;
  if (!said) warn("cannot write to {}{}", path.string(), errno_text());
  run_id_ = read_or_make_id(disk, run);
}

RunLock::~RunLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace limpid
