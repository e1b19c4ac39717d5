#pragma once

#include <array>
#include <cassert>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "core/dtype.h"

namespace limpid {

// The dims of a tensor, outermost first; at most five.
class Shape {
 public:
  static constexpr int kMaxRank = 5;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) {
    require(dims.size() <= kMaxRank, "a shape has at most {} dims, not {}", kMaxRank, dims.size());
    for (int64_t d : dims) dims_[size_t(rank_++)] = d;
  }

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return dims_[size_t(i < 0 ? i + rank_ : i)]; }
  int64_t& operator[](int i) { return dims_[size_t(i < 0 ? i + rank_ : i)]; }
  void append(int64_t dim) {
    require(rank_ < kMaxRank, "a shape has at most {} dims", kMaxRank);
    dims_[size_t(rank_++)] = dim;
  }
  int64_t numel() const {
    int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= dims_[size_t(i)];
    return n;
  }
  bool operator==(const Shape&) const = default;

 private:
  std::array<int64_t, kMaxRank> dims_ = {};
  int rank_ = 0;
};

std::string to_string(const Shape&);  // "(2, 3, 64)"

// Typed access to contiguous memory by N indices.
template <class T, int N>
struct View {
  T* data;
  std::array<int64_t, N> dim;

  template <class... I>
  requires(sizeof...(I) == N) T& operator()(I... index) const {
    const std::array<int64_t, N> at = {int64_t(index)...};
    int64_t offset = 0;
    for (int i = 0; i < N; ++i) offset = offset * dim[size_t(i)] + at[size_t(i)];
    return data[offset];
  }
};

// A contiguous, row-major view of memory that a Buffer or an Arena owns. Copying a Tensor copies
// the view.
struct Tensor {
  void* data = nullptr;
  Shape shape;
  DType dtype = DType::f32;

  explicit operator bool() const { return data != nullptr; }
  int64_t numel() const { return shape.numel(); }
  int64_t bytes() const { return numel() * size_of(dtype); }
  int64_t cols() const { return shape.rank() ? shape[-1] : 1; }
  int64_t rows() const { return shape.rank() && cols() ? numel() / cols() : 1; }

  // Elements as T. The dtype must be T's.
  template <class T>
  T* as() const {
    assert(dtype == dtype_of<std::remove_const_t<T>>);
    return static_cast<T*>(data);
  }
  // All dims but the last as rows, the last as columns.
  template <class T>
  View<T, 2> matrix() const {
    return {as<T>(), {rows(), cols()}};
  }
  // The same elements under another shape. Throws Error where the number of elements differs.
  Tensor reshape(Shape to) const {
    require(to.numel() == numel(), "cannot see {} as {}", shape, to);
    return {data, to, dtype};
  }
  // Elements [begin, end) of the first dim.
  Tensor slice(int64_t begin, int64_t end) const {
    assert(shape.rank() > 0 && 0 <= begin && begin <= end && end <= shape[0]);
    Tensor out = *this;
    out.shape[0] = end - begin;
    const int64_t stride = shape[0] ? bytes() / shape[0] : 0;
    out.data = static_cast<char*>(data) + begin * stride;
    return out;
  }
};

// Throws Error unless tensor has this dtype and shape; name is its name in the contract.
void require_tensor(const Tensor& tensor, DType dtype, const Shape& shape, std::string_view name);

}  // namespace limpid
