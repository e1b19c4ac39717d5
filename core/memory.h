#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "core/stream.h"
#include "core/tensor.h"

namespace limpid {

inline constexpr int64_t kAlignment = 64;  // bytes: a cache line, and an AVX-512 register
inline int64_t aligned(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// Owns one piece of a device's memory, zero at first.
class Buffer {
 public:
  Buffer() = default;
  // label names the memory in error messages and tables. Throws Error with it where there is too
  // little.
  Buffer(Device device, int64_t bytes, std::string label);
  // Memory of the host that `device` copies from and to while the host goes on.
  static Buffer pinned(Device device, int64_t bytes, std::string label);
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;

  void* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  const std::string& label() const { return label_; }
  // A view of shape at byte offset. Throws Error where it does not fit.
  Tensor tensor(int64_t offset, Shape shape, DType dtype) const;

 private:
  using Free = void (*)(void*, int64_t bytes);
  Buffer(void* data, int64_t bytes, std::string label, Free free);

  void* data_ = nullptr;
  int64_t bytes_ = 0;
  std::string label_;
  Free free_ = nullptr;
};

// A stack of tensors in one Buffer: alloc() moves the top up, a Scope takes it back at its end.
// Nothing is freed one by one and nothing is cleared. The high-water mark tells how much was ever
// in use, and by which labels at that time.
class Arena {
 public:
  Arena(Device device, int64_t capacity_bytes, std::string label);

  // Uninitialised. Throws Error with the label and the size where capacity is exceeded.
  Tensor alloc(Shape shape, DType dtype, const char* label);

  const std::string& label() const { return buffer_.label(); }
  int64_t used() const { return top_; }
  int64_t high_water() const { return high_water_; }
  int64_t capacity() const { return buffer_.bytes(); }
  // Bytes by label at the time of the high-water mark.
  std::map<std::string, int64_t> high_water_by_label() const;

  // Everything allocated while a Scope lives is given back when it ends.
  class Scope {
   public:
    explicit Scope(Arena& arena);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Arena& arena_;
    int64_t top_;
    size_t pieces_;
  };

 private:
  struct Piece {
    const char* label;
    int64_t bytes;
  };
  Buffer buffer_;
  int64_t top_ = 0;
  int64_t high_water_ = 0;
  std::vector<Piece> pieces_;
  std::vector<Piece> pieces_at_high_water_;
};

// The most memory that this process ever had in use (VmHWM of Linux); 0 where the system does not
// tell.
int64_t process_peak_bytes();

// Sets all bytes to zero, in the stream's order.
void zero(Stream&, Tensor);
// to = from, the same shape, in the stream's order. Both on the stream's device, where floating
// dtypes may differ; or one of them on the host, of the same dtype.
void copy(Stream&, Tensor to, Tensor from);
// Waits until all that was given to the stream is done.
void synchronize(Stream&);
// Memory of the host for the values of a tensor of the stream's device: the tensor itself on the
// CPU, else a place in `staging`, which grows as needed. copy() between the two costs nothing where
// they are one.
Tensor host_twin(const Stream&, Tensor, Buffer& staging);
// The host twin with the tensor's values in it, to be read now.
Tensor on_host(Stream&, Tensor, Buffer& staging);

}  // namespace limpid
