#include "kernels/attention.h"

#include <limits>
#include <vector>

#include "kernels/math.h"
#include "kernels/tile.h"

// Work goes by blocks of 48 rows (positions of queries) and 48 columns (positions of keys), small
// enough for the caches of a core. Blocks that no row sees are never touched.
namespace limpid {
namespace {

using tile::Left;

constexpr int64_t kBlock = 48;        // whole vectors of any width, whole strips of 6 and 8 rows
constexpr int64_t kRowsOfTask = 480;  // forward: rows of one head that a thread takes at once
constexpr int64_t kGroup = tile::kRowPad;  // rows that share the limits of a causal product

template <class A>
constexpr int64_t kBlockVectors = kBlock / tile::kLanes<A>;

int64_t blocks(int64_t n) { return (n + kBlock - 1) / kBlock; }

// One head of a packed tensor: row t begins at data + t * stride.
template <class T>
struct Head {
  T* data;
  int64_t stride;
  T* row(int64_t t) const { return data + t * stride; }
};

// Head h of sample b.   packed: (B,T,N,D)
template <class T>
Head<T> head(Tensor packed, int64_t b, int64_t h) {
  const int64_t N = packed.shape[2], D = packed.shape[3];
  return {packed.as<T>() + (b * packed.shape[1] * N + h) * D, N * D};
}

// What a row sees: columns [start(row), first + row].
struct Sight {
  int64_t first;            // position of row 0
  const int32_t* document;  // of this sample, or null: column at which the document of a row begins

  int64_t start(int64_t row) const { return document ? document[row] : 0; }
  int64_t last(int64_t row) const { return first + row; }
};

// The factors of dropout over the probabilities of one head.
template <class A>
class Keep {
 public:
  Keep(const Attention& how, int64_t b, int64_t h, int64_t T)
      : mask_(how.mask),
        p_(how.dropout),
        T_(T),
        base_(uint64_t((how.first_sample + b) * how.heads + h) * uint64_t(T * T)) {}
  bool all() const { return p_ == 0; }
  // factors[i] of columns col + i, i in [0,48): 1 / (1 - p) or 0.
  void fill(A* factors, int64_t row, int64_t col) const {
    const uint64_t begin = base_ + uint64_t(row * T_ + col);
    const A kept = A(1) / (A(1) - A(p_));
    const auto threshold = uint32_t(double(p_) * 0x1p32);
    for (uint64_t e = begin / 4 * 4; e < begin + kBlock; e += 4) {
      const auto words = mask_.words(e / 4);
      for (uint64_t i = 0; i < 4; ++i)
        if (e + i >= begin && e + i < begin + kBlock)
          factors[e + i - begin] = words[i] >= threshold ? kept : A(0);
    }
  }

 private:
  const Random& mask_;
  float p_;
  int64_t T_;
  uint64_t base_;
};

// Blocks [from, to) of rows of a head, transposed: block j is (cols,48) at to + j * cols * 48.
template <class A, class T>
void pack_transposed(A* to, A* block, Head<const T> rows, int64_t begin, int64_t end, int64_t count,
                     int64_t D) {
  const int64_t cols = tile::padded_cols<A>(D);
  for (int64_t j = begin; j < end; ++j) {
    const int64_t n = std::min(kBlock, count - j * kBlock);
    tile::gather(block, cols, rows.row(j * kBlock), rows.stride, n, D);
    std::fill(block + n * cols, block + kBlock * cols, A(0));
    tile::transpose(to + j * cols * kBlock, kBlock, block, cols, kBlock, cols);
  }
}

// scores (48,48) = a b for block j, but columns that all rows of a group come before.
template <class A>
void visible_scores(A* scores, Left<A> a, const A* b, const Sight& sight, int64_t row, int64_t j,
                    int64_t D) {
  for (int64_t r = 0; r < kBlock; r += kGroup) {
    const int64_t cols = std::min(kBlock, sight.last(row + r + kGroup - 1) + 1 - j * kBlock);
    if (cols > 0)
      tile::product(scores + r * kBlock, kBlock, {a.data + r * a.row, a.row, a.depth}, b, kBlock,
                    kGroup, tile::padded_cols<A>(cols) / tile::kLanes<A>, D, false);
  }
}

// to (48,cols) (+)= p v for block j, over the columns of p (48,48) that a group sees.
template <class A>
void add_visible(A* to, const A* p, const A* v, const Sight& sight, int64_t row, int64_t j,
                 int64_t cols, bool accumulate) {
  for (int64_t r = 0; r < kBlock; r += kGroup) {
    const int64_t depth = std::min(kBlock, sight.last(row + r + kGroup - 1) + 1 - j * kBlock);
    if (depth > 0)
      tile::product(to + r * cols, cols, {p + r * kBlock, kBlock, 1}, v, cols, kGroup,
                    cols / tile::kLanes<A>, depth, accumulate);
  }
}

// to (48,cols) += p^T x for block j: rows [0,n) of p (48,48) and x that see a group of columns.
template <class A>
void add_transposed(A* to, const A* p, const A* x, const Sight& sight, int64_t row, int64_t n,
                    int64_t j, int64_t cols) {
  for (int64_t c = 0; c < kBlock; c += kGroup) {
    const int64_t k = std::max<int64_t>(0, j * kBlock + c - sight.last(row));
    if (k < n)
      tile::product(to + c * cols, cols, {p + k * kBlock + c, 1, kBlock}, x + k * cols, cols,
                    kGroup, cols / tile::kLanes<A>, n - k, true);
  }
}

// Scores of a row of block j that it does not see become -inf, so that their exp is 0.
template <class A>
void hide(A* scores, const Sight& sight, int64_t row, int64_t j) {
  const int64_t begin = std::clamp<int64_t>(sight.start(row) - j * kBlock, 0, kBlock);
  const int64_t end = std::clamp<int64_t>(sight.last(row) + 1 - j * kBlock, 0, kBlock);
  constexpr A kNever = -std::numeric_limits<A>::infinity();
  std::fill(scores, scores + begin, kNever);
  std::fill(scores + std::max(begin, end), scores + kBlock, kNever);
}

// Scores (count blocks of 48 x 48) of row r become exp(score - max); returns log of their sum, and
// gives 1 / sum.
template <class A>
A softmax_row(A* scores, int64_t count, A* inverse) {
  A top = -std::numeric_limits<A>::infinity();
  for (int64_t j = 0; j < count; ++j) {
    const A* s = scores + j * kBlock * kBlock;
#pragma omp simd reduction(max : top)
    for (int64_t c = 0; c < kBlock; ++c) top = std::max(top, s[c]);
  }
  A sum = 0;
  for (int64_t j = 0; j < count; ++j) {
    A* s = scores + j * kBlock * kBlock;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < kBlock; ++c) sum += s[c] = math::exp(s[c] - top);
  }
  *inverse = 1 / sum;
  return top + std::log(sum);
}

// Forward for some rows of one head: all scores of 48 rows, their softmax, then their sum of
// values.
template <class T>
class Forward {
 public:
  using A = Accum<T>;

  // columns: the most that a row may see.
  Forward(int64_t D, float scale, int64_t columns)
      : D_(D), cols_(tile::padded_cols<A>(D)), scale_(scale), blocks_(blocks(columns)) {}

  int64_t scratch_size() const {
    return 3 * kBlock * cols_ + blocks_ * kBlock * (2 * cols_ + kBlock);
  }

  // Rows [begin, end).   q, o: heads   lse: (T), or null.
  void run(A* scratch, Head<T> o, A* lse, Head<const T> q, Head<const T> k, Head<const T> v,
           int64_t begin, int64_t end, const Sight& sight, const Keep<A>& keep) const {
    A* block = scratch;                              // (48,cols)
    A* keys = block + kBlock * cols_;                // blocks of (cols,48)
    A* values = keys + blocks_ * kBlock * cols_;     // (columns,cols)
    A* queries = values + blocks_ * kBlock * cols_;  // (48,cols)
    A* sums = queries + kBlock * cols_;              // (48,cols)
    A* scores = sums + kBlock * cols_;               // blocks of (48,48)
    const int64_t columns = sight.last(end - 1) + 1, first = sight.start(begin) / kBlock;
    pack_transposed(keys, block, k, first, blocks(columns), columns, D_);
    tile::gather(values + first * kBlock * cols_, cols_, v.row(first * kBlock), v.stride,
                 columns - first * kBlock, D_);
    std::fill(values + columns * cols_, values + blocks(columns) * kBlock * cols_, A(0));
    for (int64_t row = begin; row < end; row += kBlock) {
      const int64_t n = std::min(kBlock, end - row);
      const int64_t low = sight.start(row) / kBlock, high = blocks(sight.last(row + n - 1) + 1);
      tile::gather(queries, cols_, q.row(row), q.stride, n, D_, A(scale_));
      for (int64_t j = low; j < high; ++j)
        visible_scores(scores + (j - low) * kBlock * kBlock, {queries, cols_, 1},
                       keys + j * kBlock * cols_, sight, row, j, D_);
      A inverse[kBlock];
      for (int64_t r = 0; r < n; ++r)
        softmax(scores + r * kBlock, row + r, low, high, sight, keep, lse, &inverse[r]);
      for (int64_t j = low; j < high; ++j)
        add_visible(sums, scores + (j - low) * kBlock * kBlock, values + j * kBlock * cols_, sight,
                    row, j, cols_, j > low);
      for (int64_t r = 0; r < n; ++r)
        for (int64_t d = 0; d < D_; ++d) o.row(row + r)[d] = T(sums[r * cols_ + d] * inverse[r]);
    }
  }

 private:
  void softmax(A* scores, int64_t row, int64_t low, int64_t high, const Sight& sight,
               const Keep<A>& keep, A* lse, A* inverse) const {
    for (int64_t j = low; j < high; ++j) hide(scores + (j - low) * kBlock * kBlock, sight, row, j);
    const A log_sum = softmax_row(scores, high - low, inverse);
    if (lse) lse[row] = log_sum;
    if (keep.all()) return;
    for (int64_t j = low; j < high; ++j) {
      A factors[kBlock];
      keep.fill(factors, row, j * kBlock);
      A* p = scores + (j - low) * kBlock * kBlock;
      for (int64_t c = 0; c < kBlock; ++c) p[c] *= factors[c];
    }
  }

  int64_t D_, cols_;
  float scale_;
  int64_t blocks_;
};

// Backward for one kv head and the query heads that it serves, one after the other.
template <class T>
class Backward {
 public:
  using A = Accum<T>;

  Backward(int64_t T_, int64_t D, float scale)
      : columns_(T_), D_(D), cols_(tile::padded_cols<A>(D)), blocks_(blocks(T_)), scale_(scale) {}

  int64_t scratch_size() const {
    return 5 * blocks_ * kBlock * cols_ + 3 * kBlock * cols_ + 2 * kBlock * kBlock;
  }

  void begin(A* scratch, Head<const T> k, Head<const T> v) {
    const int64_t all = blocks_ * kBlock * cols_;
    keys_ = scratch;                     // (columns,cols)
    keys_t_ = keys_ + all;               // blocks of (cols,48)
    values_t_ = keys_t_ + all;           // blocks of (cols,48)
    dkeys_ = values_t_ + all;            // (columns,cols)
    dvalues_ = dkeys_ + all;             // (columns,cols)
    queries_ = dvalues_ + all;           // (48,cols)
    dout_ = queries_ + kBlock * cols_;   // (48,cols)
    dqueries_ = dout_ + kBlock * cols_;  // (48,cols)
    p_ = dqueries_ + kBlock * cols_;     // (48,48)
    dp_ = p_ + kBlock * kBlock;          // (48,48)
    pack_transposed(keys_t_, queries_, k, 0, blocks_, columns_, D_);
    pack_transposed(values_t_, queries_, v, 0, blocks_, columns_, D_);
    tile::gather(keys_, cols_, k.data, k.stride, columns_, D_);
    std::fill(keys_ + columns_ * cols_, keys_ + all, A(0));
    std::fill(dkeys_, dkeys_ + 2 * all, A(0));
  }

  // One query head.   q, dq, dout, o: heads   lse: (T)
  void add(Head<T> dq, Head<const T> dout, Head<const T> o, const A* lse, Head<const T> q,
           const Sight& sight, const Keep<A>& keep) {
    for (int64_t row = 0; row < columns_; row += kBlock) {
      const int64_t n = std::min(kBlock, columns_ - row);
      tile::gather(queries_, cols_, q.row(row), q.stride, n, D_, A(scale_));
      tile::gather(dout_, cols_, dout.row(row), dout.stride, n, D_);
      A delta[kBlock];  // sum over columns of p dp, which is that over D of o dout
      for (int64_t r = 0; r < n; ++r) {
        delta[r] = 0;
        for (int64_t d = 0; d < D_; ++d) delta[r] += A(o.row(row + r)[d]) * dout_[r * cols_ + d];
      }
      const int64_t low = sight.start(row) / kBlock, high = blocks(sight.last(row + n - 1) + 1);
      for (int64_t j = low; j < high; ++j) {
        probabilities(lse, delta, sight, keep, row, n, j);
        add_transposed(dvalues_ + j * kBlock * cols_, p_, dout_, sight, row, n, j, cols_);
        add_transposed(dkeys_ + j * kBlock * cols_, dp_, queries_, sight, row, n, j, cols_);
        add_visible(dqueries_, dp_, keys_ + j * kBlock * cols_, sight, row, j, cols_, j > low);
      }
      for (int64_t r = 0; r < n; ++r)
        for (int64_t d = 0; d < D_; ++d)
          dq.row(row + r)[d] = T(dqueries_[r * cols_ + d] * A(scale_));
    }
  }

  void end(Head<T> dk, Head<T> dv) const {
    for (int64_t t = 0; t < columns_; ++t)
      for (int64_t d = 0; d < D_; ++d) {
        dk.row(t)[d] = T(dkeys_[t * cols_ + d]);
        dv.row(t)[d] = T(dvalues_[t * cols_ + d]);
      }
  }

 private:
  // p = probabilities after dropout, dp = gradient of the scores, for rows of a block and block j.
  void probabilities(const A* lse, const A* delta, const Sight& sight, const Keep<A>& keep,
                     int64_t row, int64_t n, int64_t j) {
    visible_scores(p_, {queries_, cols_, 1}, keys_t_ + j * kBlock * cols_, sight, row, j, D_);
    visible_scores(dp_, {dout_, cols_, 1}, values_t_ + j * kBlock * cols_, sight, row, j, D_);
    for (int64_t r = 0; r < n; ++r) {
      A *p = p_ + r * kBlock, *dp = dp_ + r * kBlock;
      hide(p, sight, row + r, j);
      A factors[kBlock];
      if (keep.all())
        std::fill(factors, factors + kBlock, A(1));
      else
        keep.fill(factors, row + r, j * kBlock);
      const A log_sum = lse[row + r], mean = delta[r];
#pragma omp simd
      for (int64_t c = 0; c < kBlock; ++c) {
        const A x = math::exp(p[c] - log_sum);
        dp[c] = x > 0 ? x * (dp[c] * factors[c] - mean) : A(0);
        p[c] = x * factors[c];
      }
    }
  }

  int64_t columns_, D_, cols_, blocks_;
  float scale_;
  A *keys_, *keys_t_, *values_t_, *dkeys_, *dvalues_;
  A *queries_, *dout_, *dqueries_, *p_, *dp_;
};

struct Sizes {
  int64_t B, T, H, K, D;
};

Sizes check(Tensor o, Tensor qkv, const Attention& how) {
  require(qkv.shape.rank() == 4, "attention: qkv is {}, need (B,T,H+2K,D)", qkv.shape);
  const Sizes s = {qkv.shape[0], qkv.shape[1], how.heads, how.kv_heads, qkv.shape[3]};
  require(s.K > 0 && s.H > 0 && s.H % s.K == 0 && qkv.shape[2] == s.H + 2 * s.K,
          "attention: qkv is {}, which does not hold {} query heads and twice {} kv heads",
          qkv.shape, s.H, s.K);
  require_tensor(o, qkv.dtype, {s.B, s.T, s.H, s.D}, "o");
  require(how.dropout >= 0 && how.dropout < 1, "attention: dropout is {}, need 0 or more, below 1",
          how.dropout);
  return s;
}

void check_document_start(Tensor document_start, const Sizes& s) {
  if (!document_start) return;
  require_tensor(document_start, DType::i32, {s.B, s.T}, "document_start");
  const auto starts = document_start.matrix<const int32_t>();
  for (int64_t b = 0; b < s.B; ++b)
    for (int64_t t = 0; t < s.T; ++t)
      require(starts(b, t) <= t && starts(b, t) >= (t ? starts(b, t - 1) : 0),
              "document_start[{},{}] is {}; need at most {} and no less than the row before", b, t,
              starts(b, t), t);
}

Sight sight_of(Tensor document_start, int64_t b) {
  if (!document_start) return {0, nullptr};
  return {0, document_start.as<const int32_t>() + b * document_start.shape[1]};
}

template <class T>
void forward(Tensor o, Tensor lse, Tensor qkv, Tensor document_start, const Attention& how,
             const Sizes& s) {
  using A = Accum<T>;
  const Forward<T> heads(s.D, how.scale, s.T);
  const tile::Scratch<A> scratch(heads.scratch_size());
  const int64_t chunks = (s.T + kRowsOfTask - 1) / kRowsOfTask;
#pragma omp parallel for schedule(dynamic, 1)
  for (int64_t i = 0; i < s.B * s.H * chunks; ++i) {
    const int64_t begin = i % chunks * kRowsOfTask, h = i / chunks % s.H, b = i / chunks / s.H;
    const int64_t kv = s.H + h / (s.H / s.K);
    heads.run(scratch.of_thread(), head<T>(o, b, h), lse.as<A>() + (b * s.H + h) * s.T,
              head<const T>(qkv, b, h), head<const T>(qkv, b, kv), head<const T>(qkv, b, kv + s.K),
              begin, std::min(begin + kRowsOfTask, s.T), sight_of(document_start, b),
              Keep<A>(how, b, h, s.T));
  }
}

template <class T>
void backward(Tensor dqkv, Tensor dout, Tensor o, Tensor lse, Tensor qkv, Tensor document_start,
              const Attention& how, const Sizes& s) {
  using A = Accum<T>;
  const int64_t group = s.H / s.K;
  const tile::Scratch<A> scratch(Backward<T>(s.T, s.D, how.scale).scratch_size());
#pragma omp parallel for schedule(dynamic, 1)
  for (int64_t i = 0; i < s.B * s.K; ++i) {
    const int64_t b = i / s.K, k = s.H + i % s.K, v = k + s.K;
    Backward<T> kv_head(s.T, s.D, how.scale);
    kv_head.begin(scratch.of_thread(), head<const T>(qkv, b, k), head<const T>(qkv, b, v));
    for (int64_t h = i % s.K * group; h < (i % s.K + 1) * group; ++h)
      kv_head.add(head<T>(dqkv, b, h), head<const T>(dout, b, h), head<const T>(o, b, h),
                  lse.as<const A>() + (b * s.H + h) * s.T, head<const T>(qkv, b, h),
                  sight_of(document_start, b), Keep<A>(how, b, h, s.T));
    kv_head.end(head<T>(dqkv, b, k), head<T>(dqkv, b, v));
  }
}

template <class T>
void cached(Tensor o, Tensor keys, Tensor values, Tensor qkv, int64_t position,
            const Attention& how, const Sizes& s) {
  using A = Accum<T>;
  const Forward<T> heads(s.D, how.scale, position + s.T);
  const tile::Scratch<A> scratch(heads.scratch_size());
#pragma omp parallel for schedule(dynamic, 1)
  for (int64_t i = 0; i < s.B * s.K; ++i) {
    const int64_t b = i / s.K, k = i % s.K, group = s.H / s.K;
    const Head<T> cache_k = head<T>(keys, b, k), cache_v = head<T>(values, b, k);
    const Head<const T> new_k = head<const T>(qkv, b, s.H + k);
    const Head<const T> new_v = head<const T>(qkv, b, s.H + s.K + k);
    for (int64_t t = 0; t < s.T; ++t) {
      std::copy_n(new_k.row(t), s.D, cache_k.row(position + t));
      std::copy_n(new_v.row(t), s.D, cache_v.row(position + t));
    }
    for (int64_t h = k * group; h < (k + 1) * group; ++h)
      heads.run(scratch.of_thread(), head<T>(o, b, h), static_cast<A*>(nullptr),
                head<const T>(qkv, b, h), {cache_k.data, cache_k.stride},
                {cache_v.data, cache_v.stride}, 0, s.T, Sight{position, nullptr},
                Keep<A>(how, b, h, s.T));
  }
}

}  // namespace

void attention_forward(Stream&, Tensor o, Tensor lse, Tensor qkv, Tensor document_start,
                       const Attention& how) {
  const Sizes s = check(o, qkv, how);
  require_tensor(lse, accum_dtype(qkv.dtype), {s.B, s.H, s.T}, "lse");
  check_document_start(document_start, s);
  with_dtype(qkv.dtype, [&]<class T>() { forward<T>(o, lse, qkv, document_start, how, s); });
}

void attention_backward(Stream&, Tensor dqkv, Tensor dout, Tensor o, Tensor lse, Tensor qkv,
                        Tensor document_start, const Attention& how) {
  const Sizes s = check(o, qkv, how);
  require_tensor(dqkv, qkv.dtype, qkv.shape, "dqkv");
  require_tensor(dout, qkv.dtype, o.shape, "dout");
  require_tensor(lse, accum_dtype(qkv.dtype), {s.B, s.H, s.T}, "lse");
  check_document_start(document_start, s);
  with_dtype(qkv.dtype,
             [&]<class T>() { backward<T>(dqkv, dout, o, lse, qkv, document_start, how, s); });
}

void attention_cached(Stream&, Tensor o, Tensor keys, Tensor values, Tensor qkv, int64_t position,
                      const Attention& how) {
  const Sizes s = check(o, qkv, how);
  const int64_t rows = keys.shape.rank() == 4 ? keys.shape[1] : 0;
  require_tensor(keys, qkv.dtype, {s.B, rows, s.K, s.D}, "keys");
  require_tensor(values, qkv.dtype, keys.shape, "values");
  require(position >= 0 && position + s.T <= rows,
          "attention: {} new positions from {} do not fit a cache of {}", s.T, position, rows);
  require(how.dropout == 0, "attention: dropout is {}, but generation has none", how.dropout);
  with_dtype(qkv.dtype, [&]<class T>() { cached<T>(o, keys, values, qkv, position, how, s); });
}

}  // namespace limpid
