#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace limpid {

using Path = std::filesystem::path;

// An open file. Every call throws Error with the path and the cause where it fails.
class File {
 public:
  virtual ~File() = default;
  virtual void write_at(int64_t offset, const void* data, int64_t bytes) = 0;
  // Reads exactly that many; a file that ends before is an Error.
  virtual void read_at(int64_t offset, void* data, int64_t bytes) = 0;
  virtual int64_t size() = 0;
  virtual void truncate(int64_t bytes) = 0;
  virtual void sync() = 0;        // returns when the bytes are on the medium
  virtual void drop_cache() = 0;  // so that the next read comes from the medium
};

// Every change that limpid makes to a file system goes through a Disk, so that tests can fail or
// lose any of them.
class Disk {
 public:
  virtual ~Disk() = default;
  virtual std::unique_ptr<File> create(const Path&) = 0;  // new and empty; an Error where it exists
  virtual std::unique_ptr<File> open(const Path&) = 0;    // for reading
  virtual std::unique_ptr<File> open_append(
      const Path&) = 0;  // for reading and writing, created where missing
  virtual void rename(const Path& from, const Path& to) = 0;
  virtual void make_folders(const Path&) = 0;
  virtual void remove_all(const Path&) = 0;
  virtual void sync_folder(const Path&) = 0;  // makes creations and renames in it durable
  virtual int64_t free_bytes(const Path&) = 0;
};

// The machine's own file system. It has no state.
Disk& real_disk();

bool file_exists(const Path&);
// Whole file. Throws Error where it cannot be read or is larger than limit.
std::string read_text(const Path&, int64_t limit_bytes = 1 << 30);
// The file appears with all of its bytes or not at all: written beside, fsync, rename, fsync of the
// folder.
void write_atomically(Disk&, const Path&, std::string_view bytes);
// Names in a folder, sorted; empty where there is no such folder.
std::vector<std::string> list_folder(const Path&);

// A whole file mapped for reading.
class MappedFile {
 public:
  explicit MappedFile(const Path&);
  ~MappedFile();
  MappedFile(MappedFile&&) noexcept;
  MappedFile& operator=(MappedFile&&) noexcept;
  const char* data() const { return data_; }
  int64_t size() const { return size_; }

 private:
  const char* data_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace limpid
