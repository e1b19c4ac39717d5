#include "kernels/matmul.h"

#include <dnnl.h>

#include <chrono>
#include <limits>

#include "core/memory.h"
#include "core/random.h"
#include "kernels/tile.h"

namespace limpid {
namespace {

// A part of c.
struct Box {
  int64_t row, col;
  int64_t rows, cols;
};

// Boxes that cover c (M,N), their size by M and N alone: 512 x 768 keeps a core's cache busy, at
// least 8 of them keep cores busy, and oneDNN's kernel works on 8 rows and 48 columns at once.
class Grid {
 public:
  Grid(int64_t M, int64_t N) : M_(M), N_(N) {
    int64_t down = (M + 511) / 512, across = (N + 767) / 768;
    const auto fit = [&] {
      rows_ = tile::round_up((M + down - 1) / down, 8);
      cols_ = tile::round_up((N + across - 1) / across, 48);
    };
    for (fit(); down * across < 8 && rows_ * cols_ > 96 * 96; fit())
      (cols_ > 3 * rows_ || rows_ <= 96 ? across : down) *= 2;
    across_ = (N + cols_ - 1) / cols_;
    count_ = across_ * ((M + rows_ - 1) / rows_);
  }
  int64_t count() const { return count_; }
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  Box operator[](int64_t i) const {
    const int64_t row = i / across_ * rows_, col = i % across_ * cols_;
    return {row, col, std::min(rows_, M_ - row), std::min(cols_, N_ - col)};
  }

 private:
  int64_t M_, N_;
  int64_t rows_ = 0, cols_ = 0;
  int64_t across_ = 0, count_ = 0;
};

// A matrix as it lies in memory: element (i,j) stands in row i, or in row j if stored transposed.
template <class T>
struct Operand {
  const T* data;
  int64_t stride;
  bool transposed;

  Operand part(int64_t i, int64_t j) const {
    return {data + (transposed ? j * stride + i : i * stride + j), stride, transposed};
  }
};

// A stride for `cols` columns in scratch that spreads rows over the sets of a cache.
int64_t scratch_stride(int64_t cols) { return tile::round_up(cols, 32) + 16; }

// Copies rows x cols of a matrix into scratch: as it lies, or straight, which is never transposed.
template <class A, class T>
Operand<A> gather(A* scratch, const Operand<T>& from, int64_t rows, int64_t cols, bool straight) {
  const bool transposed = from.transposed && !straight;
  const int64_t stride = scratch_stride(transposed ? rows : cols);
  if (from.transposed == transposed) {
    if (transposed) std::swap(rows, cols);
    tile::gather(scratch, stride, from.data, from.stride, rows, cols);
  } else {
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < cols; ++c)
        scratch[r * stride + c] = A(from.data[c * from.stride + r]);
  }
  return {scratch, stride, transposed};
}

// c = a b + beta c over one box on one thread.
bool multiply(float* c, int64_t c_stride, const Operand<float>& a, const Operand<float>& b,
              const Box& box, int64_t depth, float beta) {
  return dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', box.rows, box.cols, depth,
                    1, a.data, a.stride, b.data, b.stride, beta, c, c_stride) == dnnl_success;
}
// The same in f64, which oneDNN has not. All is in scratch, b straight, beta 0 or 1.
bool multiply(double* c, int64_t c_stride, const Operand<double>& a, const Operand<double>& b,
              const Box& box, int64_t depth, double beta) {
  const tile::Left<double> left = {a.data, a.transposed ? 1 : a.stride,
                                   a.transposed ? a.stride : 1};
  const int64_t vectors = tile::padded_cols<double>(box.cols) / tile::kLanes<double>;
  tile::product(c, c_stride, left, b.data, b.stride, box.rows, vectors, depth, beta != 0);
  return true;
}

// c = op(a) op(b) + bias. One thread computes a box of c alone, in an order by M, N and K only.
template <class T, class C>
class Product {
 public:
  using A = Accum<T>;

  Product(Tensor c, Tensor a, Tensor b, const Matmul& how)
      : c_(c.as<C>()),
        M_(c.rows()),
        N_(c.cols()),
        K_(how.transpose_a ? a.rows() : a.cols()),
        a_{a.as<const T>(), a.cols(), how.transpose_a},
        b_{b.as<const T>(), b.cols(), how.transpose_b},
        bias_(how.bias ? how.bias.as<const T>() : nullptr),
        accumulate_(how.accumulate) {}

  bool run() const {
    const Grid grid(M_, N_);
    const int64_t size_a = a_size(grid), size_b = b_size(grid), size_c = c_size(grid);
    const tile::Scratch<A> scratch(size_a + size_b + size_c);
    bool done = true;
#pragma omp parallel for schedule(dynamic, 1) reduction(&& : done)
    for (int64_t i = 0; i < grid.count(); ++i) {
      A* own = scratch.of_thread();
      done = compute(grid[i], own, own + size_a, own + size_a + size_b) && done;
    }
    return done;
  }

 private:
  static constexpr bool kInPlace = std::is_same_v<C, float>;  // sums stand in c itself
  static constexpr int64_t kDepth = 256;                      // of what is gathered at once

  // f32 is read where it lies, unless its rows, a multiple of 4 KiB apart, fall into few sets of
  // the cache while each lends but a piece.
  static bool gathers_a(const Operand<T>& a) {
    return !std::is_same_v<T, float> || (a.transposed && a.stride % 1024 == 0);
  }
  static bool gathers_b(const Operand<T>& b) {
    return !std::is_same_v<T, float> || (!b.transposed && b.stride % 1024 == 0);
  }
  // Elements for n x m in scratch, in either order, with what pads rows and columns.
  static int64_t panel(int64_t n, int64_t m) { return tile::round_up((n + 48) * (m + 48), 16); }
  int64_t a_size(const Grid& grid) const { return gathers_a(a_) ? panel(grid.rows(), kDepth) : 0; }
  int64_t b_size(const Grid& grid) const { return gathers_b(b_) ? panel(grid.cols(), kDepth) : 0; }
  int64_t c_size(const Grid& grid) const { return kInPlace ? 0 : panel(grid.rows(), grid.cols()); }

  bool compute(const Box& box, A* own_a, A* own_b, A* own_c) const {
    constexpr bool kStraight = std::is_same_v<A, double>;
    const bool whole = !gathers_a(a_) && !gathers_b(b_);
    const int64_t step = whole ? K_ : kDepth;
    const auto [sums, stride] = start(box, own_c);
    bool done = true;
    for (int64_t k = 0; k < K_; k += step) {
      const int64_t depth = std::min(step, K_ - k);
      const Operand<T> a = a_.part(box.row, k), b = b_.part(k, box.col);
      const A beta = k > 0 || has_start();
      if constexpr (std::is_same_v<T, float>) {
        done &= multiply(
            sums, stride, gathers_a(a) ? gather(own_a, a, box.rows, depth, kStraight) : a,
            gathers_b(b) ? gather(own_b, b, depth, box.cols, kStraight) : b, box, depth, beta);
      } else {
        done &= multiply(sums, stride, gather(own_a, a, box.rows, depth, false),
                         gather(own_b, b, depth, box.cols, kStraight), box, depth, beta);
      }
    }
    if constexpr (!kInPlace) finish(box, sums, stride);
    return done;
  }

  bool has_start() const { return accumulate_ || bias_ || K_ == 0; }
  struct Sums {
    A* data;
    int64_t stride;
  };
  // Where the sums of a box stand, with what they begin from: c, the bias, both or nothing.
  Sums start(const Box& box, A* own) const {
    C* c = c_ + box.row * N_ + box.col;
    Sums sums = {own, scratch_stride(box.cols)};
    if constexpr (kInPlace) sums = {c, N_};
    if (!has_start()) return sums;
    for (int64_t r = 0; r < box.rows; ++r)
      for (int64_t j = 0; j < box.cols; ++j)
        sums.data[r * sums.stride + j] =
            (accumulate_ ? A(c[r * N_ + j]) : A(0)) + (bias_ ? A(bias_[box.col + j]) : A(0));
    return sums;
  }
  void finish(const Box& box, const A* sums, int64_t stride) const {
    C* c = c_ + box.row * N_ + box.col;
    for (int64_t r = 0; r < box.rows; ++r)
      for (int64_t j = 0; j < box.cols; ++j) c[r * N_ + j] = C(sums[r * stride + j]);
  }

  C* c_;  // (M,N)
  int64_t M_, N_, K_;
  Operand<T> a_, b_;
  const T* bias_;  // (N) or null
  bool accumulate_;
};

void check(Tensor c, Tensor a, Tensor b, const Matmul& how) {
  const int64_t M = how.transpose_a ? a.cols() : a.rows();
  const int64_t K = how.transpose_a ? a.rows() : a.cols();
  const int64_t N = how.transpose_b ? b.rows() : b.cols();
  require(K == (how.transpose_b ? b.cols() : b.rows()),
          "matmul: a {}{} and b {}{} do not share a dim to sum over", a.shape,
          how.transpose_a ? " transposed" : "", b.shape, how.transpose_b ? " transposed" : "");
  require(c.rows() == M && c.cols() == N, "matmul: c is {}, need {} rows and {} columns", c.shape,
          M, N);
  require(a.dtype == b.dtype && (c.dtype == a.dtype || c.dtype == accum_dtype(a.dtype)),
          "matmul: a is {}, b {}, c {}; a and b must be alike, c like them or their accumulator",
          a.dtype, b.dtype, c.dtype);
  if (how.bias) require_tensor(how.bias, a.dtype, {N}, "bias");
}

// db += the column sums of dy, in blocks of columns and of rows that are always the same.
template <class T>
void add_rows(Accum<T>* db, View<const T, 2> dy) {
  using A = Accum<T>;
  constexpr int64_t kRows = 64, kCols = 64;
  const auto [M, N] = dy.dim;
#pragma omp parallel for
  for (int64_t col = 0; col < N; col += kCols) {
    const int64_t cols = std::min(kCols, N - col);
    A total[kCols] = {};
    for (int64_t row = 0; row < M; row += kRows) {
      A part[kCols] = {};
      for (int64_t r = row; r < std::min(row + kRows, M); ++r)
        for (int64_t j = 0; j < cols; ++j) part[j] += A(dy(r, col + j));
      for (int64_t j = 0; j < cols; ++j) total[j] += part[j];
    }
    for (int64_t j = 0; j < cols; ++j) db[col + j] += total[j];
  }
}

template <class T>
void fill_random(T* values, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    values[i] = T(float(mix64(uint64_t(i)) >> 40) * 0x1p-24f - 0.5f);
}

template <class F>
double least_seconds(int repeats, F&& work) {
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i < repeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    least = std::min(least, took.count());
  }
  return least;
}

}  // namespace

void matmul(Stream& stream, Tensor c, Tensor a, Tensor b, const Matmul& how) {
  check(c, a, b, how);
  stream.flops += 2.0 * double(a.numel()) * double(c.cols());
  if (stream.device == Device::cuda) return cuda::matmul(stream, c, a, b, how);
  const bool done = with_dtype(a.dtype, [&]<class T>() {
    return c.dtype == a.dtype ? Product<T, T>(c, a, b, how).run()
                              : Product<T, Accum<T>>(c, a, b, how).run();
  });
  require(done, "matmul: oneDNN refused a product of {} and {}", a.shape, b.shape);
}

void bias_backward(Stream& stream, Tensor db, Tensor dy) {
  require_tensor(db, accum_dtype(dy.dtype), {dy.cols()}, "db");
  if (stream.device == Device::cuda) return cuda::bias_backward(stream, db, dy);
  with_dtype(dy.dtype, [&]<class T>() { add_rows<T>(db.as<Accum<T>>(), dy.matrix<const T>()); });
}

double gemm_rate_gflops(int64_t n, int repeats) {
  const Buffer memory(Device::cpu, 3 * n * n * int64_t(sizeof(float)), "matrices to time");
  float* a = static_cast<float*>(memory.data());
  float *b = a + n * n, *c = b + n * n;
  fill_random(a, 2 * n * n);
  const double seconds = least_seconds(repeats, [&] {
    const bool done = dnnl_sgemm('N', 'N', n, n, n, 1, a, n, b, n, 0, c, n) == dnnl_success;
    require(done, "oneDNN refused a product of two {} x {} matrices", n, n);
  });
  return 2e-9 * double(n) * double(n) * double(n) / seconds;
}

double gemm_rate_gflops(Stream& stream, int64_t n, int repeats) {
  if (stream.device == Device::cpu) return gemm_rate_gflops(n, repeats);
  constexpr int kAtOnce = 4;  // products, so that the wait for them counts little
  const int64_t bytes = n * n * size_of(DType::bf16);
  const Buffer memory(stream.device, 3 * bytes, "matrices to time");
  const Buffer host(Device::cpu, bytes, "matrices to time");
  const auto matrix = [&](int64_t i) { return memory.tensor(i * bytes, {n, n}, DType::bf16); };
  const Tensor values = host.tensor(0, {n, n}, DType::bf16);
  fill_random(values.as<bf16>(), n * n);
  copy(stream, matrix(0), values);
  copy(stream, matrix(1), values);
  const double flops = stream.flops;
  const auto products = [&](int count) {
    for (int i = 0; i < count; ++i) matmul(stream, matrix(2), matrix(0), matrix(1));
    synchronize(stream);
  };
  products(1);
  const double seconds = least_seconds(repeats, [&] { products(kAtOnce); }) / kAtOnce;
  stream.flops = flops;
  return 2e-9 * double(n) * double(n) * double(n) / seconds;
}

}  // namespace limpid
