#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>

#include "core/memory.h"

// Products of small matrices that lie in cache, for kernels that work block by block. A panel is a
// row-major matrix in scratch memory: its columns padded to full vectors, its rows to kRowPad.
namespace limpid::tile {

inline constexpr int64_t kVectorBytes = __BIGGEST_ALIGNMENT__;  // the widest register there is
template <class A>
inline constexpr int64_t kLanes = kVectorBytes / int64_t(sizeof(A));
template <class A>
struct VectorOf {
  using type [[gnu::vector_size(kVectorBytes)]] = A;
};
template <class A>
using Vector = typename VectorOf<A>::type;

inline constexpr int64_t kRowPad = 24;
inline int64_t round_up(int64_t n, int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}
template <class A>
int64_t padded_cols(int64_t cols) {
  return round_up(cols, kLanes<A>);
}

// Uninitialised memory for each thread of the next parallel region, aligned to cache lines.
template <class A>
class Scratch {
 public:
  explicit Scratch(int64_t elements_per_thread)
      : bytes_(aligned(elements_per_thread * int64_t(sizeof(A)))),
        data_(static_cast<std::byte*>(
            ::operator new(size_t(bytes_* omp_get_max_threads()), std::align_val_t(kAlignment)))) {}
  A* of_thread() const { return reinterpret_cast<A*>(data_.get() + omp_get_thread_num() * bytes_); }

 private:
  struct Free {
    void operator()(std::byte* data) const {
      ::operator delete(data, std::align_val_t(kAlignment));
    }
  };
  int64_t bytes_;
  std::unique_ptr<std::byte, Free> data_;
};

// Hands out one piece of a thread's scratch after the other.
template <class A>
class Pieces {
 public:
  explicit Pieces(A* data) : next_(data) {}
  A* take(int64_t elements) {
    A* piece = next_;
    next_ += size(elements);
    return piece;
  }
  static int64_t size(int64_t elements) {
    return aligned(elements * int64_t(sizeof(A))) / int64_t(sizeof(A));
  }

 private:
  A* next_;
};

template <class A>
Vector<A> load(const A* from) {
  Vector<A> x;
  std::memcpy(&x, from, sizeof(x));
  return x;
}
template <class A>
void store(A* to, const Vector<A>& x) {
  std::memcpy(to, &x, sizeof(x));
}

// Element (r,k) of a left operand stands at data[r * row + k * depth].
template <class A>
struct Left {
  const A* data;
  int64_t row;
  int64_t depth;
};

// kRows x kVectors of c in registers, over all of the depth.
template <int kRows, int kVectors, class A>
void strip(A* c, int64_t c_cols, Left<A> a, const A* b, int64_t b_cols, int64_t depth,
           bool accumulate) {
  constexpr int64_t kStep = kLanes<A>;
  Vector<A> sum[kRows][kVectors];
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kVectors; ++v)
      sum[r][v] = accumulate ? load(c + r * c_cols + v * kStep) : Vector<A>{};
  for (int64_t k = 0; k < depth; ++k) {
    Vector<A> row[kVectors];
    for (int v = 0; v < kVectors; ++v) row[v] = load(b + k * b_cols + v * kStep);
    for (int r = 0; r < kRows; ++r) {
      const A factor = a.data[r * a.row + k * a.depth];
      for (int v = 0; v < kVectors; ++v) sum[r][v] += factor * row[v];
    }
  }
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kVectors; ++v) store(c + r * c_cols + v * kStep, sum[r][v]);
}

// How many rows a strip of so many vectors has, that sums, b and one factor fit the registers.
constexpr int strip_rows(int vectors) { return kVectorBytes == 64 && vectors < 4 ? 8 : 6; }
inline constexpr int kMaxVectors = kVectorBytes == 64 ? 4 : 2;

// c (+)= a b for rows [0, rows) of c, rounded up to whole strips, and the first `vectors` vectors.
template <class A>
void product(A* c, int64_t c_cols, Left<A> a, const A* b, int64_t b_cols, int64_t rows,
             int64_t vectors, int64_t depth, bool accumulate) {
  const auto strips = [&]<int kVectors>(int64_t at) {
    constexpr int kRows = strip_rows(kVectors);
    for (int64_t r = 0; r < rows; r += kRows)
      strip<kRows, kVectors>(c + r * c_cols + at, c_cols, {a.data + r * a.row, a.row, a.depth},
                             b + at, b_cols, depth, accumulate);
  };
  for (int64_t v = 0; v < vectors; v += kMaxVectors) {
    const int64_t at = v * kLanes<A>;
    switch (std::min<int64_t>(vectors - v, kMaxVectors)) {
      case 1:
        strips.template operator()<1>(at);
        break;
      case 2:
        strips.template operator()<2>(at);
        break;
      case 3:
        strips.template operator()<(kMaxVectors >= 3 ? 3 : 1)>(at);
        break;
      default:
        strips.template operator()<kMaxVectors>(at);
    }
  }
}

// A square of kLanes x kLanes from rows of `from` into rows of `to`, transposed (Eklundh 1972).
template <class A>
void transpose_square(A* to, int64_t to_cols, const A* from, int64_t from_cols) {
  constexpr int64_t kSize = kLanes<A>;
  using Index [[gnu::vector_size(kVectorBytes)]] =
      std::conditional_t<sizeof(A) == 4, int32_t, int64_t>;
  Vector<A> row[kSize];
  for (int64_t i = 0; i < kSize; ++i) row[i] = load(from + i * from_cols);
  for (int64_t step = 1; step < kSize; step *= 2) {
    Index low, high;
    for (int64_t j = 0; j < kSize; ++j) {
      low[j] = (j & step) ? kSize + j - step : j;
      high[j] = (j & step) ? kSize + j : j + step;
    }
    for (int64_t i = 0; i < kSize; ++i) {
      if (i & step) continue;
      const Vector<A> first = row[i], second = row[i + step];
      row[i] = __builtin_shuffle(first, second, low);
      row[i + step] = __builtin_shuffle(first, second, high);
    }
  }
  for (int64_t i = 0; i < kSize; ++i) store(to + i * to_cols, row[i]);
}

// to (cols x to_cols) = from (rows x cols) transposed; rows and cols in full vectors.
template <class A>
void transpose(A* to, int64_t to_cols, const A* from, int64_t from_cols, int64_t rows,
               int64_t cols) {
  for (int64_t r = 0; r < rows; r += kLanes<A>)
    for (int64_t c = 0; c < cols; c += kLanes<A>)
      transpose_square(to + c * to_cols + r, to_cols, from + r * from_cols + c, from_cols);
}

// Panel to (rows x to_cols) = factor * from, with zeros beyond cols.
template <class A, class T>
void gather(A* to, int64_t to_cols, const T* from, int64_t from_stride, int64_t rows, int64_t cols,
            A factor = 1) {
  for (int64_t r = 0; r < rows; ++r) {
    A* row = to + r * to_cols;
    for (int64_t c = 0; c < cols; ++c) row[c] = factor * A(from[r * from_stride + c]);
    std::fill(row + cols, row + to_cols, A(0));
  }
}

}  // namespace limpid::tile
