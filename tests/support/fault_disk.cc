#include "tests/support/fault_disk.h"

#include "core/error.h"

namespace limpid {
namespace {

class FaultFile : public File {
 public:
  FaultFile(FaultDisk& disk, std::unique_ptr<File> file, const Path& path)
      : disk_(disk), file_(std::move(file)), path_(path) {}

  void write_at(int64_t offset, const void* data, int64_t bytes) override {
    const bool passes = disk_.passes();
    file_->write_at(offset, data, passes ? bytes : bytes / 2);
    require(passes, "cannot write to {}: the test's disk failed", path_.string());
  }
  void read_at(int64_t offset, void* data, int64_t bytes) override {
    file_->read_at(offset, data, bytes);
  }
  int64_t size() override { return file_->size(); }
  void truncate(int64_t bytes) override {
    disk_.check(path_);
    file_->truncate(bytes);
  }
  void sync() override {
    disk_.check(path_);
    file_->sync();
  }
  void drop_cache() override { file_->drop_cache(); }

 private:
  FaultDisk& disk_;
  std::unique_ptr<File> file_;
  Path path_;
};

}  // namespace

void FaultDisk::arm(Kind kind, int64_t at) {
  kind_ = kind;
  at_ = at;
  changes_ = 0;
}

bool FaultDisk::passes() {
  const int64_t number = changes_++;
  require(kind_ == Kind::error || number <= at_, "the test's process was killed before");
  return number != at_;
}

void FaultDisk::check(const Path& path) {
  require(passes(), "cannot change {}: the test's disk failed", path.string());
}

std::unique_ptr<File> FaultDisk::create(const Path& path) {
  check(path);
  return std::make_unique<FaultFile>(*this, real_disk().create(path), path);
}
std::unique_ptr<File> FaultDisk::open(const Path& path) {
  return std::make_unique<FaultFile>(*this, real_disk().open(path), path);
}
std::unique_ptr<File> FaultDisk::open_append(const Path& path) {
  check(path);
  return std::make_unique<FaultFile>(*this, real_disk().open_append(path), path);
}
void FaultDisk::rename(const Path& from, const Path& to) {
  check(from);
  real_disk().rename(from, to);
}
void FaultDisk::make_folders(const Path& path) {
  check(path);
  real_disk().make_folders(path);
}
void FaultDisk::remove_all(const Path& path) {
  check(path);
  real_disk().remove_all(path);
}
void FaultDisk::sync_folder(const Path& path) {
  check(path);
  real_disk().sync_folder(path);
}
int64_t FaultDisk::free_bytes(const Path& path) {
  return claimed_free ? *claimed_free : real_disk().free_bytes(path);
}

}  // namespace limpid
