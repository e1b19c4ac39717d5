#include "core/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace limpid {
namespace {

class Descriptor {
 public:
  Descriptor(const Path& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {
    require(fd_ >= 0, "cannot open {}{}", path.string(), errno_text());
  }
  ~Descriptor() { ::close(fd_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

class RealFile : public File {
 public:
  RealFile(const Path& path, int flags) : path_(path.string()), fd_(path, flags) {}

  void write_at(int64_t offset, const void* data, int64_t bytes) override {
    const char* at = static_cast<const char*>(data);
    while (bytes > 0) {
      const ssize_t n = ::pwrite(fd_.get(), at, size_t(bytes), offset);
      if (n < 0 && errno == EINTR) continue;
      require(n > 0, "cannot write {} bytes to {}{}", bytes, path_, errno_text());
      at += n, offset += n, bytes -= n;
    }
  }
  void read_at(int64_t offset, void* data, int64_t bytes) override {
    char* at = static_cast<char*>(data);
    while (bytes > 0) {
      const ssize_t n = ::pread(fd_.get(), at, size_t(bytes), offset);
      if (n < 0 && errno == EINTR) continue;
      require(n >= 0, "cannot read {}{}", path_, errno_text());
      require(n > 0, "{} ends at byte {}, {} more are needed: it is truncated", path_, offset,
              bytes);
      at += n, offset += n, bytes -= n;
    }
  }
  int64_t size() override {
    struct stat info;
    require(::fstat(fd_.get(), &info) == 0, "cannot see the size of {}{}", path_, errno_text());
    return info.st_size;
  }
  void truncate(int64_t bytes) override {
    require(::ftruncate(fd_.get(), bytes) == 0, "cannot cut {} to {} bytes{}", path_, bytes,
            errno_text());
  }
  void sync() override {
    require(::fsync(fd_.get()) == 0, "cannot bring {} to disk{}", path_, errno_text());
  }
  void drop_cache() override { ::posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_DONTNEED); }

 private:
  std::string path_;
  Descriptor fd_;
};

// Refuses what is no file: opening a pipe without O_NONBLOCK would wait for its writer.
std::unique_ptr<RealFile> open_to_read(const Path& path) {
  auto file = std::make_unique<RealFile>(path, O_RDONLY | O_NONBLOCK);
  std::error_code error;
  require(std::filesystem::is_regular_file(path, error), "cannot read {}: it is not a file",
          path.string());
  return file;
}

class RealDisk : public Disk {
 public:
  std::unique_ptr<File> create(const Path& path) override {
    return std::make_unique<RealFile>(path, O_RDWR | O_CREAT | O_EXCL);
  }
  std::unique_ptr<File> open(const Path& path) override { return open_to_read(path); }
  std::unique_ptr<File> open_append(const Path& path) override {
    return std::make_unique<RealFile>(path, O_RDWR | O_CREAT);
  }
  void rename(const Path& from, const Path& to) override {
    require(::rename(from.c_str(), to.c_str()) == 0, "cannot rename {} to {}{}", from.string(),
            to.string(), errno_text());
  }
  void make_folders(const Path& path) override {
    std::error_code error;
    std::filesystem::create_directories(path, error);
    require(!error, "cannot make the folder {}: {}", path.string(), error.message());
  }
  void remove_all(const Path& path) override {
    std::error_code error;
    std::filesystem::remove_all(path, error);
    require(!error, "cannot remove {}: {}", path.string(), error.message());
  }
  void sync_folder(const Path& path) override {
    const Descriptor fd(path.empty() ? Path(".") : path, O_RDONLY | O_DIRECTORY);
    require(::fsync(fd.get()) == 0, "cannot bring the folder {} to disk{}", path.string(),
            errno_text());
  }
  int64_t free_bytes(const Path& path) override {
    struct statvfs info;
    require(::statvfs(path.c_str(), &info) == 0, "cannot see the free space of {}{}", path.string(),
            errno_text());
    return int64_t(info.f_bavail) * int64_t(info.f_frsize);
  }
};

}  // namespace

Disk& real_disk() {
  static RealDisk disk;
  return disk;
}

bool file_exists(const Path& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

std::string read_text(const Path& path, int64_t limit_bytes) {
  const auto file = open_to_read(path);
  const int64_t bytes = file->size();
  require(bytes <= limit_bytes, "{} has {} bytes, more than the {} that are read of such a file",
          path.string(), bytes, limit_bytes);
  std::string out(size_t(bytes), '\0');
  file->read_at(0, out.data(), bytes);
  return out;
}

void write_atomically(Disk& disk, const Path& path, std::string_view bytes) {
  const Path beside = path.string() + ".tmp";
  disk.remove_all(beside);
  {
    const auto file = disk.create(beside);
    file->write_at(0, bytes.data(), int64_t(bytes.size()));
    file->sync();
  }
  disk.rename(beside, path);
  disk.sync_folder(path.parent_path());
}

std::vector<std::string> list_folder(const Path& path) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(path, error))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

MappedFile::MappedFile(const Path& path) {
  const Descriptor fd(path, O_RDONLY);
  struct stat info;
  require(::fstat(fd.get(), &info) == 0, "cannot see the size of {}{}", path.string(),
          errno_text());
  size_ = info.st_size;
  if (size_ == 0) return;
  void* at = ::mmap(nullptr, size_t(size_), PROT_READ, MAP_SHARED, fd.get(), 0);
  require(at != MAP_FAILED, "cannot map {}{}", path.string(), errno_text());
  data_ = static_cast<const char*>(at);
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<char*>(data_), size_t(size_));
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace limpid
