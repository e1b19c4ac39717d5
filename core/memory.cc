#include "core/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <utility>

namespace limpid {

// Anonymous pages come zeroed and cost nothing until touched; huge pages spare most of the faults.
Buffer::Buffer(Device device, int64_t bytes, std::string label)
    : bytes_(bytes), label_(std::move(label)) {
  require(device == Device::cpu, "{}: no memory on device {}", label_, device);
  require(bytes >= 0, "{}: {} bytes asked for", label_, bytes);
  if (bytes == 0) return;
  data_ = mmap(nullptr, size_t(bytes), PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data_ == MAP_FAILED) {
    data_ = nullptr;
    fail("{}: cannot get {:.1f} GiB of memory{}", label_, double(bytes) / (1 << 30), errno_text());
  }
  if (bytes >= (4 << 20)) madvise(data_, size_t(bytes), MADV_HUGEPAGE);
}

Buffer::~Buffer() {
  if (data_) munmap(data_, size_t(bytes_));
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      label_(std::move(other.label_)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(label_, other.label_);
  return *this;
}

Tensor Buffer::tensor(int64_t offset, Shape shape, DType dtype) const {
  require(offset >= 0 && offset + shape.numel() * size_of(dtype) <= bytes_,
          "{}: {} {} at byte {} does not fit into {} bytes", label_, dtype, shape, offset, bytes_);
  return {static_cast<char*>(data_) + offset, shape, dtype};
}

Arena::Arena(Device device, int64_t capacity_bytes, std::string label)
    : buffer_(device, capacity_bytes, std::move(label)) {}

Tensor Arena::alloc(Shape shape, DType dtype, const char* label) {
  const int64_t bytes = aligned(shape.numel() * size_of(dtype));
  require(top_ + bytes <= capacity(), "{}: {} {} {} needs {} bytes, {} of {} are left",
          buffer_.label(), label, dtype, shape, bytes, capacity() - top_, capacity());
  const Tensor out = buffer_.tensor(top_, shape, dtype);
  top_ += bytes;
  pieces_.push_back({label, bytes});
  if (top_ > high_water_) {
    high_water_ = top_;
    pieces_at_high_water_ = pieces_;
  }
  return out;
}

std::map<std::string, int64_t> Arena::high_water_by_label() const {
  std::map<std::string, int64_t> out;
  for (const Piece& piece : pieces_at_high_water_) out[piece.label] += piece.bytes;
  return out;
}

Arena::Scope::Scope(Arena& arena)
    : arena_(arena), top_(arena.top_), pieces_(arena.pieces_.size()) {}

Arena::Scope::~Scope() {
  arena_.top_ = top_;
  arena_.pieces_.resize(pieces_);
}

int64_t process_peak_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6)) * 1024;
  return 0;
}

void zero(Stream&, Tensor tensor) {
  char* bytes = static_cast<char*>(tensor.data);
  const int64_t count = tensor.bytes(), piece = 1 << 20;
#pragma omp parallel for schedule(static)
  for (int64_t at = 0; at < count; at += piece)
    std::memset(bytes + at, 0, size_t(std::min(piece, count - at)));
}

void copy(Stream&, Tensor to, Tensor from) {
  require(to.shape == from.shape, "cannot copy {} into {}", from.shape, to.shape);
  if (to.dtype == from.dtype) {
    const int64_t count = to.bytes(), piece = 1 << 20;
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < count; at += piece)
      std::memcpy(static_cast<char*>(to.data) + at, static_cast<const char*>(from.data) + at,
                  size_t(std::min(piece, count - at)));
    return;
  }
  with_dtype(to.dtype, [&]<class To>() {
    with_dtype(from.dtype, [&]<class From>() {
      To* out = to.as<To>();
      const From* in = from.as<From>();
#pragma omp parallel for schedule(static)
      for (int64_t i = 0; i < to.numel(); ++i) out[i] = To(Accum<From>(in[i]));
    });
  });
}

}  // namespace limpid
