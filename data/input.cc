#include "data/input.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace limpid {
namespace {

constexpr size_t kBlockBytes = 1 << 18;

// What decompressors share: a block of the bytes below.
class Block {
 public:
  explicit Block(ByteSource& below) : below_(below), bytes_(kBlockBytes) {}
  // More bytes where all are used up; false at the end.
  bool fill() {
    if (begin == end) begin = 0, end = below_.read(bytes_.data(), bytes_.size());
    return begin < end;
  }
  char* data() { return bytes_.data(); }
  size_t begin = 0, end = 0;

 private:
  ByteSource& below_;
  std::vector<char> bytes_;
};

class Plain : public ByteSource {
 public:
  explicit Plain(ByteSource& below) : below_(below) {}
  size_t read(char* out, size_t count) override { return below_.read(out, count); }

 private:
  ByteSource& below_;
};

class Gzip : public ByteSource {
 public:
  explicit Gzip(ByteSource& below) : block_(below) {
    require(inflateInit2(&stream_, kGzipOnly) == Z_OK, "zlib cannot start");
  }
  ~Gzip() override { inflateEnd(&stream_); }

  size_t read(char* out, size_t count) override {
    stream_.next_out = reinterpret_cast<Bytef*>(out);
    stream_.avail_out = uInt(std::min<size_t>(count, kBlockBytes));
    const size_t room = stream_.avail_out;
    while (stream_.avail_out == room) {
      if (!block_.fill()) {
        require(!inside_, "the gzip data ends too early: the file is truncated");
        return 0;
      }
      if (!inside_) require(inflateReset(&stream_) == Z_OK, "zlib cannot start again");
      inside_ = true;
      stream_.next_in = reinterpret_cast<Bytef*>(block_.data() + block_.begin);
      stream_.avail_in = uInt(block_.end - block_.begin);
      const int status = inflate(&stream_, Z_NO_FLUSH);
      block_.begin = block_.end - stream_.avail_in;
      require(status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR,
              "the gzip data is damaged ({})", stream_.msg ? stream_.msg : "no reason given");
      if (status == Z_STREAM_END) inside_ = false;  // another member may follow
    }
    return room - stream_.avail_out;
  }

 private:
  static constexpr int kGzipOnly = 15 + 16;
  Block block_;
  z_stream stream_ = {};
  bool inside_ = false;  // a member
};

class Zstd : public ByteSource {
 public:
  explicit Zstd(ByteSource& below) : block_(below), stream_(ZSTD_createDStream()) {
    require(stream_ != nullptr, "zstd cannot start");
    ZSTD_DCtx_setParameter(stream_, ZSTD_d_windowLogMax, kLongestWindow);
  }
  ~Zstd() override { ZSTD_freeDStream(stream_); }

  size_t read(char* out, size_t count) override {
    ZSTD_outBuffer to = {out, count, 0};
    while (to.pos == 0) {
      if (!block_.fill() && !more_) {
        require(!inside_, "the zstd data ends too early: the file is truncated");
        return 0;
      }
      ZSTD_inBuffer from = {block_.data(), block_.end, block_.begin};
      const size_t status = ZSTD_decompressStream(stream_, &to, &from);
      require(!ZSTD_isError(status), "the zstd data is damaged ({})", ZSTD_getErrorName(status));
      block_.begin = from.pos;
      inside_ = status != 0;
      more_ = to.pos == to.size;  // what it holds back may not need more input
    }
    return to.pos;
  }

 private:
  static constexpr int kLongestWindow = 31;  // log2 bytes: zstd --long=31
  Block block_;
  ZSTD_DStream* stream_;
  bool inside_ = false;  // a frame
  bool more_ = false;
};

}  // namespace

RawFile::RawFile(const Path& path) : file_(real_disk().open(path)), bytes_(file_->size()) {}

size_t RawFile::read(char* out, size_t count) {
  const int64_t n = std::min(int64_t(count), bytes_ - at_);
  file_->read_at(at_, out, n);
  hash_.update(out, size_t(n));
  at_ += n;
  return size_t(n);
}

std::string RawFile::sha256() {
  std::vector<char> block(kBlockBytes);
  while (read(block.data(), block.size()) > 0) {
  }
  return to_hex(hash_.finish());
}

std::unique_ptr<ByteSource> decompressed(const Path& path, ByteSource& raw) {
  if (path.extension() == ".gz") return std::make_unique<Gzip>(raw);
  if (path.extension() == ".zst") return std::make_unique<Zstd>(raw);
  return std::make_unique<Plain>(raw);
}

Input::Input(const Path& path) : raw_(path), bytes_(decompressed(path, raw_)) {}

// Where reading throws, nothing is left: half a line is no line.
void Input::read_more(size_t room) {
  std::move(buffer_.begin() + begin_, buffer_.begin() + end_, buffer_.begin());
  const size_t have = end_ - begin_;
  if (buffer_.size() < room + kPadding) buffer_.resize(room + kPadding);
  begin_ = end_ = 0;
  ended_ = true;
  const size_t got = bytes_->read(buffer_.data() + have, buffer_.size() - kPadding - have);
  end_ = have + got;
  ended_ = got == 0;
}

std::string_view Input::peek(size_t count) {
  while (end_ - begin_ < count && !ended_) read_more(count);
  return {buffer_.data() + begin_, std::min(count, end_ - begin_)};
}

bool Input::line(std::string_view& out) {
  std::string_view text = {buffer_.data() + begin_, end_ - begin_};
  size_t at = text.find('\n');
  while (at == std::string_view::npos && !ended_) {
    const size_t searched = text.size();
    if (searched > kLongest) {
      end();
      fail("line {} is longer than {} bytes", line_number_ + 1, kLongest);
    }
    read_more(std::max(kBlockBytes, 2 * searched));
    text = {buffer_.data() + begin_, end_ - begin_};
    at = text.find('\n', searched);
  }
  if (text.empty()) return false;
  out = text.substr(0, at);
  skip(std::min(text.size(), out.size() + 1));
  if (out.ends_with('\r')) out.remove_suffix(1);
  ++line_number_;
  return true;
}

}  // namespace limpid
