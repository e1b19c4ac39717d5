#include "kernels/attention.h"

#include "kernels/attention_blocks.h"

namespace limpid {
namespace {

using namespace attention;

constexpr int64_t kRowsOfTask = 480;  // forward: rows of one head that a thread takes at once

// Forward of one head, 48 rows at a time: all their scores, their softmax, then the sum of values.
template <class T>
class Forward {
 public:
  using A = Accum<T>;

  // columns: the most that a row may see.
  Forward(int64_t D, float scale, int64_t columns)
      : D_(D), cols_(tile::padded_cols<A>(D)), blocks_(blocks(columns)), scale_(scale) {}

  int64_t scratch_size() const {
    return blocks_ * (2 * kBlock * cols_ + kSquare) + 2 * kBlock * cols_;
  }

  // Rows [begin, end).   lse: (T), or null
  void run(A* scratch, Head<T> o, A* lse, Head<const T> q, Head<const T> k, Head<const T> v,
           int64_t begin, int64_t end, const Sight& sight, const Keep& keep) const {
    const int64_t panel = blocks_ * kBlock * cols_;
    A* keys = scratch;                        // blocks of (cols,48)
    A* values = keys + panel;                 // (columns,cols)
    A* scores = values + panel;               // blocks of (48,48)
    A* queries = scores + blocks_ * kSquare;  // (48,cols)
    A* sums = queries + kBlock * cols_;       // (48,cols)
    const int64_t columns = sight.last(end - 1) + 1, first = sight.start(begin) / kBlock;
    gather(values + first * kBlock * cols_, k, first * kBlock, columns, D_);
    transpose_blocks(keys, values, first, blocks(columns), cols_);
    gather(values + first * kBlock * cols_, v, first * kBlock, columns, D_);
    for (int64_t row = begin; row < end; row += kBlock) {
      const int64_t n = std::min(kBlock, end - row);
      const int64_t low = sight.start(row) / kBlock, high = blocks(sight.last(row + n - 1) + 1);
      gather(queries, q, row, row + n, D_, A(scale_));
      for (int64_t j = low; j < high; ++j)
        visible_scores(scores + (j - low) * kSquare, queries, keys + j * kBlock * cols_,
                       Block{sight, row, n, j}, D_);
      A inverse[kBlock];  // of the sums of exponents
      for (int64_t r = 0; r < n; ++r) {
        const A log_sum = softmax(scores + r * kBlock, &inverse[r], r, low, high,
                                  Block{sight, row, n, low}, keep);
        if (lse) lse[row + r] = log_sum;
      }
      for (int64_t j = low; j < high; ++j)
        add_visible(sums, scores + (j - low) * kSquare, values + j * kBlock * cols_,
                    Block{sight, row, n, j}, cols_, j > low);
      for (int64_t r = 0; r < n; ++r)
        scatter(o, sums + r * cols_, row + r, row + r + 1, D_, inverse[r]);
    }
  }

 private:
  // Scores of row r become exponents after dropout. Returns the log of the sum before it.
  A softmax(A* scores, A* inverse, int64_t r, int64_t low, int64_t high, Block block,
            const Keep& keep) const {
    for (int64_t j = low; j < high; ++j) {
      block.j = j;
      hide(scores + (j - low) * kSquare, block, r);
    }
    const A top = largest(scores, high - low);
    const A sum = exponents(scores, high - low, top);
    if (!keep.all())
      for (int64_t j = low; j < high; ++j)
        keep.apply(scores + (j - low) * kSquare, block.row + r, j * kBlock);
    *inverse = 1 / sum;
    return top + std::log(sum);
  }

  int64_t D_, cols_, blocks_;
  float scale_;
};

// Backward of one kv head: the query heads that it serves one after the other, their rows by 48.
template <class T>
class Backward {
 public:
  using A = Accum<T>;

  Backward(int64_t columns, int64_t D, float scale)
      : columns_(columns),
        D_(D),
        cols_(tile::padded_cols<A>(D)),
        blocks_(blocks(columns)),
        scale_(scale) {}

  int64_t scratch_size() const {
    return 5 * blocks_ * kBlock * cols_ + 3 * kBlock * cols_ + 2 * kSquare;
  }

  void begin(A* scratch, Head<const T> k, Head<const T> v) {
    const int64_t panel = blocks_ * kBlock * cols_;
    keys_ = scratch;
    keys_t_ = keys_ + panel;
    values_t_ = keys_t_ + panel;
    dkeys_ = values_t_ + panel;
    dvalues_ = dkeys_ + panel;
    queries_ = dvalues_ + panel;
    dout_ = queries_ + kBlock * cols_;
    dqueries_ = dout_ + kBlock * cols_;
    p_ = dqueries_ + kBlock * cols_;
    dp_ = p_ + kSquare;
    gather(keys_, v, 0, columns_, D_);
    transpose_blocks(values_t_, keys_, 0, blocks_, cols_);
    gather(keys_, k, 0, columns_, D_);
    transpose_blocks(keys_t_, keys_, 0, blocks_, cols_);
    std::fill(dkeys_, dkeys_ + 2 * panel, A(0));
  }

  // Adds one query head to dk and dv, and writes its dq.   lse: (T)
  void add(Head<T> dq, Head<const T> dout, Head<const T> o, const A* lse, Head<const T> q,
           const Sight& sight, const Keep& keep) {
    for (int64_t row = 0; row < columns_; row += kBlock) {
      const int64_t n = std::min(kBlock, columns_ - row);
      gather(queries_, q, row, row + n, D_, A(scale_));
      gather(dout_, dout, row, row + n, D_);
      A mean[kBlock];  // of dp over p, which is the sum over D of o dout
      for (int64_t r = 0; r < n; ++r) mean[r] = dot(o.row(row + r), dout_ + r * cols_);
      const int64_t low = sight.start(row) / kBlock, high = blocks(sight.last(row + n - 1) + 1);
      for (int64_t j = low; j < high; ++j) {
        const Block block = {sight, row, n, j};
        visible_scores(p_, queries_, keys_t_ + j * kBlock * cols_, block, D_);
        visible_scores(dp_, dout_, values_t_ + j * kBlock * cols_, block, D_);
        for (int64_t r = 0; r < n; ++r) score_gradient(block, r, lse[row + r], mean[r], keep);
        add_transposed(dvalues_ + j * kBlock * cols_, p_, dout_, block, cols_);
        add_transposed(dkeys_ + j * kBlock * cols_, dp_, queries_, block, cols_);
        add_visible(dqueries_, dp_, keys_ + j * kBlock * cols_, block, cols_, j > low);
      }
      scatter(dq, dqueries_, row, row + n, D_, A(scale_));
    }
  }

  void end(Head<T> dk, Head<T> dv) const {
    scatter(dk, dkeys_, 0, columns_, D_);
    scatter(dv, dvalues_, 0, columns_, D_);
  }

 private:
  A dot(const T* x, const A* y) const {
    A sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t d = 0; d < D_; ++d) sum += A(x[d]) * y[d];
    return sum;
  }

  // Row r of p: from scores to probabilities after dropout; of dp: to the gradient of the scores.
  void score_gradient(const Block& block, int64_t r, A log_sum, A mean, const Keep& keep) {
    A *p = p_ + r * kBlock, *dp = dp_ + r * kBlock;
    hide(p, block, r);
    if (!keep.all()) keep.apply(dp, block.row + r, block.j * kBlock);
#pragma omp simd
    for (int64_t c = 0; c < kBlock; ++c) {
      p[c] = math::exp(p[c] - log_sum);
      dp[c] = p[c] > 0 ? p[c] * (dp[c] - mean) : A(0);
    }
    if (!keep.all()) keep.apply(p, block.row + r, block.j * kBlock);
  }

  int64_t columns_, D_, cols_, blocks_;
  float scale_;
  A *keys_, *dkeys_, *dvalues_;     // (columns,cols)
  A *keys_t_, *values_t_;           // blocks of (cols,48)
  A *queries_, *dout_, *dqueries_;  // (48,cols)
  A *p_, *dp_;                      // (48,48)
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

// A GPU's values are not looked at.
void check_document_start(Device device, Tensor document_start, const Sizes& s) {
  if (!document_start) return;
  require_tensor(document_start, DType::i32, {s.B, s.T}, "document_start");
  if (device != Device::cpu) return;
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
  const DropoutMask mask(how.mask, how.dropout);
  const int64_t chunks = (s.T + kRowsOfTask - 1) / kRowsOfTask;
#pragma omp parallel for schedule(dynamic, 1)
  for (int64_t i = 0; i < s.B * s.H * chunks; ++i) {
    const int64_t begin = i % chunks * kRowsOfTask, h = i / chunks % s.H, b = i / chunks / s.H;
    const int64_t kv = s.H + h / (s.H / s.K);
    heads.run(scratch.of_thread(), head<T>(o, b, h), lse.as<A>() + (b * s.H + h) * s.T,
              head<const T>(qkv, b, h), head<const T>(qkv, b, kv), head<const T>(qkv, b, kv + s.K),
              begin, std::min(begin + kRowsOfTask, s.T), sight_of(document_start, b),
              Keep(how, mask, b, h, s.T));
  }
}

template <class T>
void backward(Tensor dqkv, Tensor dout, Tensor o, Tensor lse, Tensor qkv, Tensor document_start,
              const Attention& how, const Sizes& s) {
  using A = Accum<T>;
  const int64_t group = s.H / s.K;
  const tile::Scratch<A> scratch(Backward<T>(s.T, s.D, how.scale).scratch_size());
  const DropoutMask mask(how.mask, how.dropout);
#pragma omp parallel for schedule(dynamic, 1)
  for (int64_t i = 0; i < s.B * s.K; ++i) {
    const int64_t b = i / s.K, k = s.H + i % s.K, v = k + s.K;
    Backward<T> kv_head(s.T, s.D, how.scale);
    kv_head.begin(scratch.of_thread(), head<const T>(qkv, b, k), head<const T>(qkv, b, v));
    for (int64_t h = i % s.K * group; h < (i % s.K + 1) * group; ++h)
      kv_head.add(head<T>(dqkv, b, h), head<const T>(dout, b, h), head<const T>(o, b, h),
                  lse.as<const A>() + (b * s.H + h) * s.T, head<const T>(qkv, b, h),
                  sight_of(document_start, b), Keep(how, mask, b, h, s.T));
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
                {cache_v.data, cache_v.stride}, 0, s.T, Sight{position, nullptr}, Keep());
  }
}

// Operations of that many matmuls over the pairs of rows and columns that the causal mask leaves.
double flops(const Sizes& s, int matmuls) {
  const double pairs = 0.5 * double(s.T) * double(s.T + 1);
  return 2.0 * matmuls * double(s.B * s.H * s.D) * pairs;
}

}  // namespace

void attention_forward(Stream& stream, Tensor o, Tensor lse, Tensor qkv, Tensor document_start,
                       const Attention& how) {
  const Sizes s = check(o, qkv, how);
  require_tensor(lse, accum_dtype(qkv.dtype), {s.B, s.H, s.T}, "lse");
  check_document_start(stream.device, document_start, s);
  stream.flops += flops(s, 2);
  if (stream.device == Device::cuda)
    return cuda::attention_forward(stream, o, lse, qkv, document_start, how);
  with_dtype(qkv.dtype, [&]<class T>() { forward<T>(o, lse, qkv, document_start, how, s); });
}

void attention_backward(Stream& stream, Tensor dqkv, Tensor dout, Tensor o, Tensor lse, Tensor qkv,
                        Tensor document_start, const Attention& how) {
  const Sizes s = check(o, qkv, how);
  require_tensor(dqkv, qkv.dtype, qkv.shape, "dqkv");
  require_tensor(dout, qkv.dtype, o.shape, "dout");
  require_tensor(lse, accum_dtype(qkv.dtype), {s.B, s.H, s.T}, "lse");
  check_document_start(stream.device, document_start, s);
  stream.flops += flops(s, 5);
  if (stream.device == Device::cuda)
    return cuda::attention_backward(stream, dqkv, dout, o, lse, qkv, document_start, how);
  with_dtype(qkv.dtype,
             [&]<class T>() { backward<T>(dqkv, dout, o, lse, qkv, document_start, how, s); });
}

void attention_cached(Stream& stream, Tensor o, Tensor keys, Tensor values, Tensor qkv,
                      int64_t position, const Attention& how) {
  const Sizes s = check(o, qkv, how);
  const int64_t rows = keys.shape.rank() == 4 ? keys.shape[1] : 0;
  require_tensor(keys, qkv.dtype, {s.B, rows, s.K, s.D}, "keys");
  require_tensor(values, qkv.dtype, keys.shape, "values");
  require(position >= 0 && position + s.T <= rows,
          "attention: {} new positions from {} do not fit a cache of {}", s.T, position, rows);
  require(how.dropout == 0, "attention: dropout is {}, but generation has none", how.dropout);
  if (stream.device == Device::cuda)
    return cuda::attention_cached(stream, o, keys, values, qkv, position, how);
  with_dtype(qkv.dtype, [&]<class T>() { cached<T>(o, keys, values, qkv, position, how, s); });
}

}  // namespace limpid
