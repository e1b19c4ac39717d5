#pragma once

#include <limits>

#include "core/tensor.h"
#include "kernels/attention.h"
#include "kernels/dropout_mask.h"
#include "kernels/math.h"
#include "kernels/tile.h"

// What forward and backward of attention share: products and softmax of a block of 48 rows
// (positions of queries) and 48 columns (positions of keys), within what a row sees. Panels of a
// head are (rows,cols) in scratch, cols = D padded to full vectors.
namespace limpid::attention {

inline constexpr int64_t kBlock = 48;  // whole vectors of any width, whole strips of 6 and 8 rows
inline constexpr int64_t kSquare = kBlock * kBlock;
inline constexpr int64_t kGroup = tile::kRowPad;  // rows that share the limits of a product
inline int64_t blocks(int64_t n) { return (n + kBlock - 1) / kBlock; }

// One head of a packed tensor: row t begins at data + t * stride.
template <class T>
struct Head {
  T* data;
  int64_t stride;
  T* row(int64_t t) const { return data + t * stride; }
};

// Head h of sample b.   packed: (B,T,N,D)
template <class T>
Head<T> head(const Tensor& packed, int64_t b, int64_t h) {
  const int64_t N = packed.shape[2], D = packed.shape[3];
  return {packed.as<T>() + (b * packed.shape[1] * N + h) * D, N * D};
}

// What a row sees: columns [start(row), last(row)].
struct Sight {
  int64_t first;            // position of row 0
  const int32_t* document;  // column at which the document of a row begins; null for 0

  int64_t start(int64_t row) const { return document ? document[row] : 0; }
  int64_t last(int64_t row) const { return first + row; }
};

// The factors of dropout for the probabilities of one head, or none.
class Keep {
 public:
  Keep() = default;
  Keep(const Attention& how, const DropoutMask& mask, int64_t b, int64_t h, int64_t T)
      : mask_(how.dropout > 0 ? &mask : nullptr),
        first_(uint64_t((how.first_sample + b) * how.heads + h) * uint64_t(T * T)),
        columns_(T) {}
  bool all() const { return mask_ == nullptr; }
  // p (48) *= what columns col ... col + 47 of a row are multiplied by.
  template <class A>
  void apply(A* p, int64_t row, int64_t col) const {
    A factors[kBlock];
    mask_->factors(first_ + uint64_t(row * columns_ + col), kBlock, factors);
    for (int64_t c = 0; c < kBlock; ++c) p[c] *= factors[c];
  }

 private:
  const DropoutMask* mask_ = nullptr;
  uint64_t first_ = 0;
  int64_t columns_ = 0;
};

// Panel to (padded,cols) = rows [begin, end) of a head times factor; zeros below, to whole blocks.
template <class A, class T>
void gather(A* to, const Head<const T>& from, int64_t begin, int64_t end, int64_t D, A factor = 1) {
  const int64_t cols = tile::padded_cols<A>(D);
  tile::gather(to, cols, from.row(begin), from.stride, end - begin, D, factor);
  std::fill(to + (end - begin) * cols, to + blocks(end - begin) * kBlock * cols, A(0));
}

// Rows [begin, end) of a head = panel from, times factor.
template <class T, class A>
void scatter(const Head<T>& to, const A* from, int64_t begin, int64_t end, int64_t D,
             A factor = 1) {
  const int64_t cols = tile::padded_cols<A>(D);
  for (int64_t r = begin; r < end; ++r) {
    const A* row = from + (r - begin) * cols;
    T* out = to.row(r);
    for (int64_t d = 0; d < D; ++d) out[d] = T(row[d] * factor);
  }
}

// Blocks [begin, end) of the rows of a panel, each transposed: (cols,48) at to + j * 48 * cols.
template <class A>
void transpose_blocks(A* to, const A* panel, int64_t begin, int64_t end, int64_t cols) {
  for (int64_t j = begin; j < end; ++j)
    tile::transpose(to + j * kBlock * cols, kBlock, panel + j * kBlock * cols, cols, kBlock, cols);
}

// Rows [row, row + n) of a head and the columns of block j.
struct Block {
  const Sight& sight;
  int64_t row, n;
  int64_t j;

  // How many columns of the block come no later than row `r` of it.
  int64_t columns(int64_t r) const {
    return std::clamp<int64_t>(sight.last(row + r) + 1 - j * kBlock, 0, kBlock);
  }
  // The first row of the block that column c comes no later than.
  int64_t rows_before(int64_t c) const {
    return std::max<int64_t>(0, j * kBlock + c - sight.last(row));
  }
};

// scores (48,48) = a b, where a row may see them.   a: (48,cols)   b: (cols,48)
template <class A>
void visible_scores(A* scores, const A* a, const A* b, const Block& block, int64_t D) {
  const int64_t cols = tile::padded_cols<A>(D);
  for (int64_t r = 0; r < block.n; r += kGroup) {
    const int64_t rows = std::min(kGroup, block.n - r);
    const int64_t seen = tile::padded_cols<A>(block.columns(r + rows - 1));
    tile::product(scores + r * kBlock, kBlock, {a + r * cols, cols, 1}, b, kBlock, rows,
                  seen / tile::kLanes<A>, D, false);
  }
}

// to (48,cols) (+)= p v, over the columns that a group of rows sees.   p: (48,48)   v: (48,cols)
template <class A>
void add_visible(A* to, const A* p, const A* v, const Block& block, int64_t cols, bool accumulate) {
  for (int64_t r = 0; r < block.n; r += kGroup) {
    const int64_t rows = std::min(kGroup, block.n - r);
    tile::product(to + r * cols, cols, {p + r * kBlock, kBlock, 1}, v, cols, rows,
                  cols / tile::kLanes<A>, block.columns(r + rows - 1), accumulate);
  }
}

// to (48,cols) += p^T x, over the rows that see a group of columns.   p: (48,48)   x: (48,cols)
template <class A>
void add_transposed(A* to, const A* p, const A* x, const Block& block, int64_t cols) {
  for (int64_t c = 0; c < kBlock; c += kGroup) {
    const int64_t r = block.rows_before(c);
    if (r < block.n)
      tile::product(to + c * cols, cols, {p + r * kBlock + c, 1, kBlock}, x + r * cols, cols,
                    kGroup, cols / tile::kLanes<A>, block.n - r, true);
  }
}

// The scores of row r that it does not see become -inf, so that their exp is 0.   scores: (48)
template <class A>
void hide(A* scores, const Block& block, int64_t r) {
  constexpr A kNever = -std::numeric_limits<A>::infinity();
  const int64_t begin = block.sight.start(block.row + r) - block.j * kBlock;
  if (begin > 0) std::fill(scores, scores + std::min(begin, kBlock), kNever);
  const int64_t end = block.columns(r);
  if (end < kBlock) std::fill(scores + end, scores + kBlock, kNever);
}

// The largest of the scores of one row in `count` blocks.   scores: (48) of each block
template <class A>
A largest(const A* scores, int64_t count) {
  constexpr int64_t kStep = tile::kLanes<A>;
  tile::Vector<A> top = tile::load(scores);
  for (int64_t j = 0; j < count; ++j)
    for (int64_t c = 0; c < kBlock; c += kStep) {
      const tile::Vector<A> x = tile::load(scores + j * kSquare + c);
      top = x > top ? x : top;
    }
  A result = top[0];
  for (int64_t i = 1; i < kStep; ++i) result = std::max(result, A(top[i]));
  return result;
}

// Scores of one row become exp(score - top); returns their sum.
template <class A>
A exponents(A* scores, int64_t count, A top) {
  A sum = 0;
  for (int64_t j = 0; j < count; ++j) {
    A* s = scores + j * kSquare;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < kBlock; ++c) sum += s[c] = math::exp(s[c] - top);
  }
  return sum;
}

}  // namespace limpid::attention
