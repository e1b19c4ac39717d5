// Saving and loading a checkpoint against cp + fsync of the same bytes with a cold cache, in one
// run on one disk. A save hashes, writes, syncs and reads back; a load reads and checks the hashes.
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <functional>
#include <limits>

#include "checkpoint/load.h"
#include "checkpoint/save.h"
#include "core/log.h"
#include "core/memory.h"
#include "core/random.h"

namespace limpid {
namespace {

double seconds_of(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Like a LLaMA of that size with AdamW in f32: 64 MiB tables and 4 MiB matrices, each with m and v.
class Sample {
 public:
  explicit Sample(int64_t bytes) : buffer_(Device::cpu, bytes, "state") {
    auto* words = static_cast<uint64_t*>(buffer_.data());
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < bytes / 8; ++i) words[i] = mix64(uint64_t(i));
    const int64_t third = bytes / 3 / (4 << 20) * (4 << 20);
    int64_t at = 0, layer = 0;
    for (int64_t left = third; left > 0;) {
      const int64_t piece = std::min<int64_t>(left, layer == 0 ? 64 << 20 : 4 << 20);
      const std::string name = format("layers.{}.weight", layer++);
      add(state.model, name, at, piece);
      add(state.optimizer, "m/" + name, at, piece);
      add(state.optimizer, "v/" + name, at, piece);
      left -= piece;
    }
  }
  State state;

 private:
  void add(std::vector<NamedTensor>& to, const std::string& name, int64_t& at, int64_t bytes) {
    to.push_back({name, buffer_.tensor(at, {bytes / 4096, 1024}, DType::f32)});
    at += bytes;
  }
  Buffer buffer_;
};

int64_t folder_bytes(const Path& folder) {
  int64_t bytes = 0;
  for (const std::string& name : list_folder(folder))
    bytes += int64_t(std::filesystem::file_size(folder / name));
  return bytes;
}

void drop_caches(const Path& folder) {
  for (const std::string& name : list_folder(folder)) real_disk().open(folder / name)->drop_cache();
}

void run_cp(const Path& from, const Path& to) {
  const pid_t child = fork();
  if (child == 0) {
    execlp("cp", "cp", "--reflink=never", "--sparse=never", "-r", from.c_str(), to.c_str(),
           nullptr);
    _exit(127);
  }
  int status = 1;
  waitpid(child, &status, 0);
  require(status == 0, "cp {} {} failed", from.string(), to.string());
}

void copy_and_sync(const Path& from, const Path& to) {
  run_cp(from, to);
  for (const std::string& name : list_folder(to)) real_disk().open(to / name)->sync();
  real_disk().sync_folder(to);
}

struct Times {
  double save = std::numeric_limits<double>::infinity();
  double load = save, copy = save;
};

Times measure(const Path& folder, Sample& sample, int repeats, int64_t& bytes) {
  Checkpoints checkpoints({}, folder);
  Times best;
  for (int i = 1; i <= repeats; ++i) {
    sample.state.step = i;
    best.save = std::min(best.save, seconds_of([&] { checkpoints.save(sample.state, {}); }));
    const Path saved = checkpoints.folder(i), copied = folder / "copy";
    bytes = folder_bytes(saved);
    drop_caches(saved);
    best.copy = std::min(best.copy, seconds_of([&] { copy_and_sync(saved, copied); }));
    drop_caches(saved);
    best.load = std::min(best.load, seconds_of([&] { checkpoints.load(i, sample.state); }));
    real_disk().remove_all(copied);
    real_disk().remove_all(saved);
  }
  return best;
}

void bench(const Path& parent, double gib, int repeats, bool json) {
  const Path folder = parent / format("limpid-bench-{}", getpid());
  Sample sample(int64_t(gib * (1 << 30)));
  int64_t bytes = 0;
  const Times best = measure(folder, sample, repeats, bytes);
  real_disk().remove_all(folder);
  const auto rate = [&](double seconds) { return double(bytes) / seconds / 1e6; };
  if (json) {
    log(R"({{"bytes": {}, "save_s": {:.3f}, "load_s": {:.3f}, "cp_fsync_s": {:.3f}, )"
        R"("save_ratio": {:.3f}, "load_ratio": {:.3f}}})",
        bytes, best.save, best.load, best.copy, best.copy / best.save, best.copy / best.load);
    return;
  }
  log("{} in {}, best of {}", human_bytes(double(bytes)), parent.string(), repeats);
  log("cp + fsync, cold   {:7.3f} s  {:6.0f} MB/s", best.copy, rate(best.copy));
  log("save               {:7.3f} s  {:6.0f} MB/s  {:.2f} of cp + fsync", best.save,
      rate(best.save), best.copy / best.save);
  log("load, cold         {:7.3f} s  {:6.0f} MB/s  {:.2f} of cp + fsync", best.load,
      rate(best.load), best.copy / best.load);
}

}  // namespace
}  // namespace limpid

int main(int argc, char** argv) {
  CLI::App app("Saving and loading a checkpoint against cp + fsync");
  std::string folder = ".";
  double gib = 1;
  int repeats = 3;
  bool json = false;
  app.add_option("--folder", folder, "on the disk to measure")->capture_default_str();
  app.add_option("--gib", gib, "size of the checkpoint")->capture_default_str();
  app.add_option("--repeats", repeats, "the best of so many counts")->capture_default_str();
  app.add_flag("--json", json, "one line of JSON");
  CLI11_PARSE(app, argc, argv);
  limpid::bench(folder, gib, repeats, json);
}
