#include "kernels/matmul.h"

#include "tests/reference/matmul.h"
#include "tests/support/check_op.h"

namespace limpid {
namespace {

using MatmulTest = OpTest;
INSTANTIATE_TEST_SUITE_P(, MatmulTest, testing::ValuesIn(all_ops()), op_name);

struct Sizes {
  int64_t M, N, K;
};
const std::vector<Sizes> kSizes = {{1, 1, 1},    {1, 130, 7},  {130, 1, 33}, {2, 3, 129},
                                   {17, 16, 15}, {48, 64, 32}, {63, 65, 1},  {129, 130, 127}};

struct Product {
  bool transpose_a, transpose_b, accumulate, bias;
  Slot::Type type;  // of c
};

OpCase product_case(const Sizes& n, const Product& p) {
  const Shape a = p.transpose_a ? Shape{n.K, n.M} : Shape{n.M, n.K};
  const Shape b = p.transpose_b ? Shape{n.N, n.K} : Shape{n.K, n.N};
  const Shape c = {n.M, n.N};
  return {.inputs = {constant("a", a), constant("b", b), constant("bias", {n.N}),
                     Slot{"before", c, p.type}},
          .outputs = {Slot{"c", c, p.type}},
          .reference =
              [=](auto& v) {
                v["c"] = reference::matmul(v["a"], v["b"], p.transpose_a, p.transpose_b,
                                           p.bias ? &v["bias"] : nullptr);
                for (int64_t i = 0; p.accumulate && i < c.numel(); ++i) v["c"][i] += v["before"][i];
              },
          .forward =
              [=](Stream& s, const Tensors& v) {
                if (p.accumulate) copy(s, v["c"], v["before"]);
                matmul(s, v["c"], v["a"], v["b"],
                       {.transpose_a = p.transpose_a,
                        .transpose_b = p.transpose_b,
                        .accumulate = p.accumulate,
                        .bias = p.bias ? v["bias"] : Tensor{}});
              }};
}

// c in the dtype of a and b, and in that of the sums.
void check_products(const Op& op, bool accumulate, bool bias) {
  for (const Sizes& n : kSizes)
    for (bool transpose_a : {false, true})
      for (bool transpose_b : {false, true})
        for (Slot::Type type : {Slot::Type::storage, Slot::Type::accumulator}) {
          SCOPED_TRACE(format("M {} N {} K {}, transposed {} {}, mixed {}", n.M, n.N, n.K,
                              transpose_a, transpose_b, type == Slot::Type::accumulator));
          check_op(op, product_case(n, {transpose_a, transpose_b, accumulate, bias, type}));
        }
}

TEST_P(MatmulTest, Products) { check_products(GetParam(), false, false); }
TEST_P(MatmulTest, ProductsThatAccumulate) { check_products(GetParam(), true, false); }
TEST_P(MatmulTest, ProductsWithBias) { check_products(GetParam(), false, true); }

// A Linear, whose weight is stored (N,K): the three products of a training step, over (B,T).
TEST_P(MatmulTest, LinearAndItsGradients) {
  for (const Sizes& n : {Sizes{1, 1, 1}, Sizes{6, 5, 7}, Sizes{70, 33, 20}, Sizes{300, 4, 17}}) {
    const Shape x = {2, n.M / 2, n.K}, y = {2, n.M / 2, n.N}, one = {1, 1, 1};
    check_op(GetParam(),
             {.inputs = {activation("x", n.M > 1 ? x : one), weight("w", {n.N, n.K}),
                         weight("b", {n.N})},
              .outputs = {activation("y", n.M > 1 ? y : one)},
              .reference =
                  [](auto& v) { v["y"] = reference::matmul(v["x"], v["w"], false, true, &v["b"]); },
              .forward =
                  [](Stream& s, const Tensors& v) {
                    matmul(s, v["y"], v["x"], v["w"], {.transpose_b = true, .bias = v["b"]});
                  },
              .backward =
                  [](Stream& s, const Tensors& v) {
                    matmul(s, v.d("x"), v.d("y"), v["w"]);
                    matmul(s, v.d("w"), v.d("y"), v["x"],
                           {.transpose_a = true, .accumulate = true});
                    bias_backward(s, v.d("b"), v.d("y"));
                  },
              .slack = 2});
  }
}

// Sums of 50,000 terms, as over the head's vocabulary or a long batch.
TEST_P(MatmulTest, LongSums) {
  OpCase op_case =
      product_case({3, 5, 50000}, {false, true, false, false, Slot::Type::accumulator});
  op_case.slack = 10;
  check_op(GetParam(), op_case);
}

// One row of many columns, many rows of one; nothing to sum over.
TEST_P(MatmulTest, ProductsOfOddShapes) {
  for (const Sizes& n : {Sizes{1, 1025, 9}, Sizes{1025, 1, 9}, Sizes{3, 5, 0}})
    for (bool accumulate : {false, true})
      for (bool bias : {false, true}) {
        SCOPED_TRACE(format("M {} N {} K {}, add {}, bias {}", n.M, n.N, n.K, accumulate, bias));
        check_op(GetParam(),
                 product_case(n, {true, false, accumulate, bias, Slot::Type::accumulator}));
      }
}

// y = x + b, by a product with nothing to sum over. Column sums of few and of many rows and
// columns, where rows begin on 16 bytes and where not.
TEST_P(MatmulTest, BiasGradients) {
  for (const Shape& shape : {Shape{1, 8}, Shape{7, 1}, Shape{9, 256}, Shape{40, 264},
                             Shape{3, 100, 33}, Shape{700, 72}, Shape{5, 2000}}) {
    SCOPED_TRACE(to_string(shape));
    const int64_t N = shape[-1], M = shape.numel() / N;
    check_op(GetParam(),
             {.inputs = {weight("b", {N}), constant("x", shape), constant("none_a", {0, M}),
                         constant("none_b", {0, N})},
              .outputs = {activation("y", shape)},
              .reference =
                  [=](auto& v) {
                    v["y"] = v["x"];
                    for (int64_t i = 0; i < M * N; ++i) v["y"][i] += v["b"][i % N];
                  },
              .forward =
                  [](Stream& s, const Tensors& v) {
                    copy(s, v["y"], v["x"]);
                    matmul(s, v["y"], v["none_a"], v["none_b"],
                           {.transpose_a = true, .accumulate = true, .bias = v["b"]});
                  },
              .backward = [](Stream& s, const Tensors& v) { bias_backward(s, v.d("b"), v.d("y")); },
              .slack = 4});
  }
}

TEST(Matmul, RateOfADevice) {
  for (Device device : {Device::cpu, Device::cuda}) {
    if (device == Device::cuda && !cuda::available()) GTEST_SKIP() << "no GPU can be used here";
    Stream stream(device);
    EXPECT_GT(gemm_rate_gflops(stream, 32, 1), 0);
    EXPECT_EQ(stream.flops, 0);
  }
}

TEST(Matmul, RefusesWhatDoesNotFit) {
  Buffer memory(Device::cpu, 4096, "test");
  Stream s;
  const auto tensor = [&](Shape shape, DType dtype = DType::f32) {
    return memory.tensor(0, shape, dtype);
  };
  const Tensor a = tensor({4, 6}), b = tensor({6, 5}), c = tensor({4, 5});
  EXPECT_THROW(matmul(s, c, a, tensor({7, 5})), Error);
  EXPECT_THROW(matmul(s, c, a, b, {.transpose_b = true}), Error);
  EXPECT_THROW(matmul(s, c, a, b, {.transpose_a = true}), Error);
  EXPECT_THROW(matmul(s, tensor({4, 6}), a, b), Error);
  EXPECT_THROW(matmul(s, c, a, tensor({6, 5}, DType::bf16)), Error);
  EXPECT_THROW(matmul(s, tensor({4, 5}, DType::bf16), a, b), Error);
  EXPECT_THROW(matmul(s, c, a, b, {.bias = tensor({4})}), Error);
  EXPECT_THROW(matmul(s, tensor({4, 5}, DType::i32), a, b), Error);
  EXPECT_THROW(bias_backward(s, tensor({4}), c), Error);
  EXPECT_THROW(bias_backward(s, tensor({5}, DType::bf16), tensor({4, 5}, DType::bf16)), Error);
}

}  // namespace
}  // namespace limpid
