#include "core/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <utility>

#include "core/cuda.h"

namespace limpid {

namespace {

// Anonymous pages come zeroed and cost nothing until touched; huge pages spare most of the faults.
void* map_pages(int64_t bytes) {
  void* data = mmap(nullptr, size_t(bytes), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) return nullptr;
  if (bytes >= (4 << 20)) madvise(data, size_t(bytes), MADV_HUGEPAGE);
  return data;
}
void unmap_pages(void* data, int64_t bytes) { munmap(data, size_t(bytes)); }

void require_memory(const void* data, Device device, int64_t bytes, const std::string& label) {
  if (data || bytes == 0) return;
  const double gib = double(1 << 30);
  if (device == Device::cuda)
    fail("{}: cannot get {:.1f} GiB of the GPU's memory, where {:.1f} GiB are free", label,
         double(bytes) / gib, double(cuda::free_bytes()) / gib);
  fail("{}: cannot get {:.1f} GiB of memory{}", label, double(bytes) / gib, errno_text());
}

}  // namespace

Buffer::Buffer(void* data, int64_t bytes, std::string label, Free free)
    : data_(data), bytes_(bytes), label_(std::move(label)), free_(free) {}

Buffer::Buffer(Device device, int64_t bytes, std::string label)
    : bytes_(bytes), label_(std::move(label)) {
  require(bytes >= 0, "{}: {} bytes asked for", label_, bytes);
  if (bytes == 0) return;
  if (device == Device::cuda) {
    data_ = cuda::allocate(bytes);
    free_ = [](void* data, int64_t) { cuda::release(data); };
  } else {
    data_ = map_pages(bytes);
    free_ = unmap_pages;
  }
  require_memory(data_, device, bytes_, label_);
}

Buffer Buffer::pinned(Device device, int64_t bytes, std::string label) {
  if (device == Device::cpu || bytes == 0) return Buffer(Device::cpu, bytes, std::move(label));
  void* data = cuda::allocate_pinned(bytes);
  require_memory(data, Device::cpu, bytes, label);
  return Buffer(data, bytes, std::move(label),
                [](void* pages, int64_t) { cuda::release_pinned(pages); });
}

Buffer::~Buffer() {
  if (data_) free_(data_, bytes_);
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      label_(std::move(other.label_)),
      free_(other.free_) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(label_, other.label_);
  std::swap(free_, other.free_);
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

void zero(Stream& stream, Tensor tensor) {
  if (tensor.numel() == 0) return;
  if (stream.device == Device::cuda) return cuda::zero_bytes(stream, tensor.data, tensor.bytes());
  char* bytes = static_cast<char*>(tensor.data);
  const int64_t count = tensor.bytes(), piece = 1 << 20;
#pragma omp parallel for schedule(static)
  for (int64_t at = 0; at < count; at += piece)
    std::memset(bytes + at, 0, size_t(std::min(piece, count - at)));
}

void copy(Stream& stream, Tensor to, Tensor from) {
  require(to.shape == from.shape, "cannot copy {} into {}", from.shape, to.shape);
  if (to.numel() == 0 || (to.data == from.data && to.dtype == from.dtype)) return;
  if (stream.device == Device::cuda) {
    if (to.dtype == from.dtype) return cuda::copy_bytes(stream, to.data, from.data, to.bytes());
    return cuda::convert(stream, to, from);
  }
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

void synchronize(Stream& stream) {
  if (stream.device == Device::cuda) cuda::synchronize(stream);
}

Tensor host_twin(const Stream& stream, Tensor tensor, Buffer& staging) {
  if (stream.device == Device::cpu) return tensor;
  if (staging.bytes() < tensor.bytes())
    staging = Buffer::pinned(stream.device, tensor.bytes(), "copies on the host");
  return staging.tensor(0, tensor.shape, tensor.dtype);
}

Tensor on_host(Stream& stream, Tensor tensor, Buffer& staging) {
  const Tensor twin = host_twin(stream, tensor, staging);
  copy(stream, twin, tensor);
  synchronize(stream);
  return twin;
}

}  // namespace limpid
