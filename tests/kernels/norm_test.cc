#include "kernels/norm.h"

#include "tests/reference/elementwise.h"
#include "tests/reference/norm.h"
#include "tests/support/check_op.h"

namespace limpid {
namespace {

using NormTest = OpTest;
INSTANTIATE_TEST_SUITE_P(, NormTest, testing::ValuesIn(all_ops()), op_name);

constexpr float kEps = 1e-5f;
// One row, one column, and more rows than one block of the weight gradients holds.
const std::vector<Shape> kShapes = {{2, 3, 64}, {1, 1, 5}, {3, 2, 1}, {2, 69, 33}};
// Over one column the gradient vanishes but for rounding.
double least(const Shape& x) { return x[2] == 1 ? 1 : 0; }

TEST_P(NormTest, RmsNorm) {
  for (const Shape& x : kShapes)
    check_op(GetParam(),
             {.inputs = {activation("x", x), weight("w", {x[2]})},
              .outputs = {activation("y", x)},
              .saved = {state("rstd", {x[0], x[1]})},
              .reference = [](auto& v) { v["y"] = reference::rmsnorm(v["x"], v["w"], kEps); },
              .forward =
                  [](Stream& s, const Tensors& v) {
                    rmsnorm_forward(s, v["y"], v["rstd"], v["x"], v["w"], kEps);
                  },
              .backward =
                  [](Stream& s, const Tensors& v) {
                    rmsnorm_backward(s, v.d("x"), v.d("w"), v.d("y"), {}, v["x"], v["w"],
                                     v["rstd"]);
                  },
              .least = least(x)});
}

// The gradient of the residual stream goes into dx, first on its own, then in place.
TEST_P(NormTest, AddRmsNorm) {
  for (const Shape& x : kShapes)
    check_op(GetParam(),
             {.inputs = {activation("x", x), activation("branch", x), weight("w", {x[2]})},
              .outputs = {activation("y", x), activation("sum", x)},
              .saved = {state("rstd", {x[0], x[1]})},
              .reference =
                  [](auto& v) {
                    v["sum"] = reference::add(v["x"], v["branch"]);
                    v["y"] = reference::rmsnorm(v["sum"], v["w"], kEps);
                  },
              .forward =
                  [](Stream& s, const Tensors& v) {
                    add_rmsnorm_forward(s, v["y"], v["sum"], v["rstd"], v["x"], v["branch"], v["w"],
                                        kEps);
                  },
              .backward =
                  [](Stream& s, const Tensors& v) {
                    rmsnorm_backward(s, v.d("x"), v.d("w"), v.d("y"), v.d("sum"), v["sum"], v["w"],
                                     v["rstd"]);
                    copy(s, v.d("branch"), v.d("x"));
                  },
              .least = least(x)});
}

TEST_P(NormTest, LayerNorm) {
  for (const Shape& x : kShapes)
    check_op(
        GetParam(),
        {.inputs = {activation("x", x), weight("w", {x[2]}), weight("b", {x[2]})},
         .outputs = {activation("y", x)},
         .saved = {state("mean", {x[0], x[1]}), state("rstd", {x[0], x[1]})},
         .reference = [](auto& v) { v["y"] = reference::layernorm(v["x"], v["w"], v["b"], kEps); },
         .forward =
             [](Stream& s, const Tensors& v) {
               layernorm_forward(s, v["y"], v["mean"], v["rstd"], v["x"], v["w"], v["b"], kEps);
             },
         .backward =
             [](Stream& s, const Tensors& v) {
               layernorm_backward(s, v.d("x"), v.d("w"), v.d("b"), v.d("y"), {}, v["x"], v["w"],
                                  v["mean"], v["rstd"]);
             },
         .least = least(x)});
}

TEST_P(NormTest, AddLayerNorm) {
  for (const Shape& x : kShapes)
    check_op(GetParam(), {.inputs = {activation("x", x), activation("branch", x),
                                     weight("w", {x[2]}), weight("b", {x[2]})},
                          .outputs = {activation("y", x), activation("sum", x)},
                          .saved = {state("mean", {x[0], x[1]}), state("rstd", {x[0], x[1]})},
                          .reference =
                              [](auto& v) {
                                v["sum"] = reference::add(v["x"], v["branch"]);
                                v["y"] = reference::layernorm(v["sum"], v["w"], v["b"], kEps);
                              },
                          .forward =
                              [](Stream& s, const Tensors& v) {
                                copy(s, v["sum"], v["x"]);  // sum may be x itself
                                add_layernorm_forward(s, v["y"], v["sum"], v["mean"], v["rstd"],
                                                      v["sum"], v["branch"], v["w"], v["b"], kEps);
                              },
                          .backward =
                              [](Stream& s, const Tensors& v) {
                                copy(s, v.d("x"), v.d("sum"));  // dresidual may be dx itself
                                layernorm_backward(s, v.d("x"), v.d("w"), v.d("b"), v.d("y"),
                                                   v.d("x"), v["sum"], v["w"], v["mean"],
                                                   v["rstd"]);
                                copy(s, v.d("branch"), v.d("x"));
                              },
                          .least = least(x)});
}

// A mean a thousand times the deviation, and magnitudes whose squares are near the ends of f32.
TEST(Norm, KeepsItsPrecisionFarFromOne) {
  const int64_t C = 256;
  Buffer memory(Device::cpu, 8 * C * 4, "test");
  const auto vector = [&](int64_t i) { return memory.tensor(i * C * 4, {1, C}, DType::f32); };
  const Tensor x = vector(0), y = vector(1), w = vector(2), b = vector(3);
  const Tensor mean = memory.tensor(4 * C * 4, {1}, DType::f32);
  const Tensor rstd = memory.tensor(5 * C * 4, {1}, DType::f32);
  Stream stream;
  for (int64_t c = 0; c < C; ++c) {
    w.as<float>()[c] = 1;
    x.as<float>()[c] = 1000 + (c % 2 ? 1.0f : -1.0f);
  }
  layernorm_forward(stream, y, mean, rstd, x, w, b, 1e-5f);
  for (int64_t c = 0; c < C; ++c) ASSERT_NEAR(y.as<float>()[c], c % 2 ? 1 : -1, 1e-5);
  for (float magnitude : {1e16f, 1e-16f}) {
    for (int64_t c = 0; c < C; ++c) x.as<float>()[c] = c % 2 ? magnitude : -magnitude;
    rmsnorm_forward(stream, y, rstd, x, w, 0);
    for (int64_t c = 0; c < C; ++c) ASSERT_NEAR(y.as<float>()[c], c % 2 ? 1 : -1, 1e-6);
  }
}

TEST(Norm, RefusesShapesThatDoNotFit) {
  Buffer memory(Device::cpu, 4096, "test");
  Stream s;
  const auto tensor = [&](Shape shape, DType dtype = DType::f32) {
    return memory.tensor(0, shape, dtype);
  };
  const Tensor x = tensor({2, 3, 8}), w = tensor({8}), rows = tensor({2, 3});
  expect_error(
      [&] {
        rmsnorm_forward(s, tensor({2, 3, 7}), rows, x, w, kEps);
      },
      "y is f32 (2, 3, 7)");
  expect_error([&] { rmsnorm_forward(s, x, rows, x, tensor({7}), kEps); }, "w is f32 (7)");
  expect_error([&] { rmsnorm_forward(s, x, tensor({2, 4}), x, w, kEps); }, "rstd is");
  expect_error(
      [&] {
        rmsnorm_forward(s, tensor({2, 3, 8}, DType::bf16), rows, x, w, kEps);
      },
      "bf16");
  expect_error([&] { add_rmsnorm_forward(s, x, x, rows, x, {}, w, kEps); }, "branch is");
  expect_error([&] { rmsnorm_backward(s, x, tensor({9}), x, {}, x, w, rows); }, "dw is");
  expect_error([&] { layernorm_forward(s, x, tensor({1}), rows, x, w, w, kEps); }, "mean is");
  expect_error([&] { layernorm_backward(s, x, w, tensor({9}), x, {}, x, w, rows, rows); }, "db is");
  expect_error([&] { layernorm_backward(s, x, w, w, x, w, x, w, rows, rows); }, "dresidual is");
}

}  // namespace
}  // namespace limpid
