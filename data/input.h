#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/file.h"
#include "core/hash.h"

namespace limpid {

// Bytes in order, from wherever.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Up to count bytes, at least one unless this is the end, which is 0. Throws Error.
  virtual size_t read(char* out, size_t count) = 0;
};

// A file as it lies on disk; counts and hashes what is read of it.
class RawFile : public ByteSource {
 public:
  explicit RawFile(const Path& path);
  size_t read(char* out, size_t count) override;
  int64_t bytes_read() const { return at_; }
  int64_t bytes() const { return bytes_; }
  std::string sha256();  // of the whole file, in hex: reads what is left. Once.

 private:
  std::unique_ptr<File> file_;
  int64_t at_ = 0, bytes_ = 0;
  Sha256 hash_;
};

// The bytes that were compressed, by the end of path: .gz (RFC 1952), .zst (RFC 8878), or neither.
std::unique_ptr<ByteSource> decompressed(const Path& path, ByteSource& raw);

// Text of one file, decompressed, in memory as far as it is looked at.
class Input {
 public:
  // A line, document or window that is longer than this is an Error.
  static constexpr size_t kLongest = size_t(1) << 28;
  static constexpr size_t kPadding = 64;  // bytes that may be read beyond each view, for simdjson

  explicit Input(const Path& path);

  // What comes next: count bytes, or fewer at the end of the file. Valid until the next call.
  std::string_view peek(size_t count);
  // What one read gives, at most count bytes.
  std::string_view glance(size_t count) {
    peek(1);
    return peek(std::min(count, end_ - begin_));
  }
  void skip(size_t count) { begin_ += count; }
  // Leaves the rest of the file.
  void end() { ended_ = true, begin_ = end_; }
  // The next line without its "\n" or "\r\n"; false at the end. Valid until the next call.
  bool line(std::string_view& out);
  int64_t line_number() const { return line_number_; }  // of the last line()
  RawFile& raw() { return raw_; }

 private:
  void read_more(size_t room);

  RawFile raw_;
  std::unique_ptr<ByteSource> bytes_;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;  // of what is in the buffer and not taken yet
  bool ended_ = false;
  int64_t line_number_ = 0;
};

}  // namespace limpid
