#pragma once

#include <array>
#include <cmath>
#include <complex>
#include <vector>

#include "core/tensor.h"

// Each forward formula once, as it stands in its paper and for any scalar: f64 for values, complex
// f64 for complex-step derivatives (Squire & Trapp 1998). Nothing here is fast or in place.
namespace limpid::reference {

template <class S>
struct Array {
  Shape shape;
  std::vector<S> data;

  Array() = default;
  explicit Array(const Shape& s) : shape(s), data(size_t(s.numel())) {}

  // Element by N indices: the last N - 1 dims as they are, all before them as one.
  template <class... I>
  S& operator()(I... index) {
    return data[offset<sizeof...(I)>({int64_t(index)...})];
  }
  template <class... I>
  const S& operator()(I... index) const {
    return data[offset<sizeof...(I)>({int64_t(index)...})];
  }
  S& operator[](int64_t i) { return data[size_t(i)]; }
  const S& operator[](int64_t i) const { return data[size_t(i)]; }
  int64_t numel() const { return int64_t(data.size()); }
  int64_t cols() const { return shape[-1]; }
  int64_t rows() const { return numel() / cols(); }

 private:
  template <size_t N>
  size_t offset(const std::array<int64_t, N>& index) const {
    int64_t at = index[0];
    for (size_t i = 1; i < N; ++i) at = at * shape[int(i) - int(N)] + index[i];
    return size_t(at);
  }
};

// Whole numbers and positions, which have no derivative.
template <class S>
int64_t whole(const S& value) {
  return std::llround(std::real(value));
}

}  // namespace limpid::reference
