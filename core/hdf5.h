#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/file.h"
#include "core/tensor.h"

// HDF5 as limpid uses it: large tensors contiguous and page-aligned, so that their bytes are read
// and written beside the library; small tables and strings through it. No timestamps, default
// format: the same content gives the same bytes. bf16 is HDF5's own 16-bit float (exponent 8,
// mantissa 7, bias 127) with the attribute dtype = "bfloat16".
namespace limpid::hdf5 {

inline constexpr int64_t kPage = 4096;

// Where a contiguous dataset lies in its file.
struct Extent {
  std::string name;  // "/layers.0.attention.q.weight"
  Shape shape;
  DType dtype = DType::f32;
  int64_t offset = 0;  // bytes
  int64_t bytes() const { return shape.numel() * size_of(dtype); }
};

// Writes one new file. Groups in names are created as needed. Throws Error with path and name where
// anything fails.
class Writer {
 public:
  explicit Writer(const Path& path);
  ~Writer();
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  // Space for a tensor, allocated and not written: its bytes are for the caller to write at
  // extents().
  void reserve(const std::string& name, Shape shape, DType dtype);
  // A small table or column, deflated; rank 1 or more.
  void table(const std::string& name, const Tensor& values);
  // A text of any length, UTF-8.
  void text(const std::string& name, const std::string& value);
  // A column of texts.
  void texts(const std::string& name, const std::vector<std::string>& values);
  // Bytes as they are (u8).
  void blob(const std::string& name, const std::string& bytes);
  // Attributes; object is a dataset's or group's name, or "/" for the file.
  void attribute(const std::string& object, const std::string& name, const std::string& value);
  void attribute(const std::string& object, const std::string& name, int64_t value);
  void attribute(const std::string& object, const std::string& name, double value);

  // Flushes and closes; returns where the reserved tensors lie, in the order of reservation.
  std::vector<Extent> close();

 private:
  std::vector<Extent> reserved_;
  std::string path_;
  int64_t file_ = -1;
};

// Reads one file. Refuses external links and files, virtual datasets and plug-in filters. A file
// from a stranger is to be checked by its hash before it comes here.
class Reader {
 public:
  explicit Reader(const Path& path);
  ~Reader();
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  const std::string& path() const { return path_; }
  bool has(const std::string& name) const;
  // Names of all datasets under group, sorted, with their full path.
  std::vector<std::string> datasets(const std::string& group = "/") const;
  // Place of a contiguous dataset. Throws Error where it is not contiguous, or ends beyond the
  // file.
  Extent extent(const std::string& name) const;
  // Shape and dtype of any dataset; offset is 0.
  Extent describe(const std::string& name) const;
  // Reads a dataset into `into`, which must have its shape and dtype.
  void read(const std::string& name, const Tensor& into) const;
  // A dataset of rank 1. Throws Error where it has another dtype or rank, or more than limit
  // elements.
  template <class T>
  std::vector<T> column(const std::string& name, int64_t limit = int64_t(1) << 32) const {
    const Extent found = describe(name);
    require(found.dtype == dtype_of<T> && found.shape.rank() == 1 && found.shape[0] <= limit,
            "{}: {} is {} {}, need one column of {}", path_, name, found.dtype, found.shape,
            dtype_of<T>);
    std::vector<T> out(size_t(found.shape[0]));
    if (!out.empty()) read(name, {out.data(), found.shape, found.dtype});
    return out;
  }
  std::string text(const std::string& name) const;
  std::vector<std::string> texts(const std::string& name) const;
  std::string blob(const std::string& name) const;
  std::optional<std::string> text_attribute(const std::string& object,
                                            const std::string& name) const;
  std::optional<int64_t> int_attribute(const std::string& object, const std::string& name) const;

 private:
  std::string path_;
  int64_t file_size_ = 0;
  int64_t file_ = -1;
};

}  // namespace limpid::hdf5
