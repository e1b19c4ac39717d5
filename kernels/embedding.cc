#include "kernels/embedding.h"

#include "kernels/check.h"
#include "kernels/put.h"
#include "kernels/split.h"

namespace limpid {
namespace {

void check(Tensor y, Tensor tokens, Tensor w, Tensor positions, int64_t first_position) {
  require(w.shape.rank() == 2 && y.rows() == tokens.numel() && y.cols() == w.cols(),
          "y is {}, need a row of w {} for each of tokens {}", y.shape, w.shape, tokens.shape);
  if (positions) {
    require(
        positions.dtype == w.dtype && positions.shape.rank() == 2 && positions.cols() == w.cols(),
        "positions are {} {}, need {} (Tmax,{})", positions.dtype, positions.shape, w.dtype,
        w.cols());
    require(0 <= first_position && first_position + tokens.cols() <= positions.rows(),
            "positions {} to {} are beyond the model's {}", first_position,
            first_position + tokens.cols(), positions.rows());
  }
  require_ids(tokens, "tokens");
}

// to += from
template <class A, class T>
void add_to(A* to, const T* from, int64_t n) {
#pragma omp simd
  for (int64_t c = 0; c < n; ++c) to[c] += A(from[c]);
}

}  // namespace

void embedding_forward(Stream& stream, Tensor y, Tensor tokens, Tensor w, Tensor positions,
                       int64_t first_position) {
  require(y.dtype == w.dtype, "y is {}, w is {}", y.dtype, w.dtype);
  check(y, tokens, w, positions, first_position);
  if (stream.device == Device::cuda)
    return cuda::embedding_forward(stream, y, tokens, w, positions, first_position);
  require_ids(tokens, 0, w.rows(), "tokens");
  with_dtype(w.dtype, [&]<class T>() {
    const int64_t C = w.cols(), length = tokens.cols();
    for_rows(y.rows(), C, [=](int64_t r) {
      const T* row = w.as<const T>() + tokens.as<const int32_t>()[r] * C;
      T* to = y.as<T>() + r * C;
      if (!positions) return void(std::copy(row, row + C, to));
      const T* position = positions.as<const T>() + (first_position + r % length) * C;
#pragma omp simd
      for (int64_t c = 0; c < C; ++c) put(to[c], Accum<T>(row[c]) + Accum<T>(position[c]));
    });
  });
}

void embedding_backward(Stream& stream, Tensor dw, Tensor dpositions, Tensor dy, Tensor tokens,
                        int64_t first_position) {
  require(dw.dtype == accum_dtype(dy.dtype), "dw is {}, need {}", dw.dtype, accum_dtype(dy.dtype));
  check(dy, tokens, dw, dpositions, first_position);
  if (stream.device == Device::cuda)
    return cuda::embedding_backward(stream, dw, dpositions, dy, tokens, first_position);
  require_ids(tokens, 0, dw.rows(), "tokens");
  with_dtype(dy.dtype, [&]<class T>() {
    using A = Accum<T>;
    const int64_t C = dw.cols(), rows = dy.rows(), length = tokens.cols();
    constexpr int64_t kColumns = 128;  // one thread adds all tokens into these columns of dw
    for_pieces(C, kColumns, [=](int64_t begin, int64_t end) {
      for (int64_t r = 0; r < rows; ++r)
        add_to(dw.as<A>() + tokens.as<const int32_t>()[r] * C + begin,
               dy.as<const T>() + r * C + begin, end - begin);
    });
    if (!dpositions) return;
    for_rows(length, rows / std::max<int64_t>(1, length) * C, [=](int64_t t) {
      for (int64_t r = t; r < rows; r += length)
        add_to(dpositions.as<A>() + (first_position + t) * C, dy.as<const T>() + r * C, C);
    });
  });
}

}  // namespace limpid
