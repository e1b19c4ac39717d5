#include "kernels/activation.h"

#include "tests/reference/activation.h"
#include "tests/support/check_op.h"

namespace limpid {
namespace {

using ActivationTest = OpTest;
INSTANTIATE_TEST_SUITE_P(, ActivationTest, testing::ValuesIn(all_ops()), op_name);

OpCase gelu_case(const Shape& x, Gelu kind, Reference formula) {
  return {.inputs = {activation("x", x)},
          .outputs = {activation("y", x)},
          .reference = std::move(formula),
          .forward = [=](Stream& s, const Tensors& v) { gelu_forward(s, v["y"], v["x"], kind); },
          .backward =
              [=](Stream& s, const Tensors& v) {
                copy(s, v.d("x"), v.d("y"));  // dx may be dy itself
                gelu_backward(s, v.d("x"), v.d("x"), v["x"], kind);
              }};
}

TEST_P(ActivationTest, GeluByTanh) {
  for (const Shape& x : {Shape{1}, Shape{3, 7}, Shape{4500}})
    check_op(GetParam(),
             gelu_case(x, Gelu::tanh, {[](auto& v) { v["y"] = reference::gelu_tanh(v["x"]); }}));
}

TEST_P(ActivationTest, GeluByErf) {
  for (const Shape& x : {Shape{1}, Shape{3, 7}, Shape{4500}})
    check_op(GetParam(), gelu_case(x, Gelu::exact, Reference::real_only([](Values<double>& v) {
                                     v["y"] = reference::gelu_exact(v["x"]);
                                   })));
}

TEST_P(ActivationTest, SwiGlu) {
  for (const Shape& y : {Shape{1, 1}, Shape{2, 3, 17}, Shape{5, 1000}}) {
    Shape x = y;
    x[-1] *= 2;
    check_op(GetParam(),
             {.inputs = {activation("x", x)},
              .outputs = {activation("y", y)},
              .reference = [y](auto& v) { v["y"] = reference::swiglu(v["x"], y); },
              .forward = [](Stream& s, const Tensors& v) { swiglu_forward(s, v["y"], v["x"]); },
              .backward =
                  [](Stream& s, const Tensors& v) {
                    copy(s, v.d("x"), v["x"]);  // dx may be x itself
                    swiglu_backward(s, v.d("x"), v.d("y"), v.d("x"));
                  }});
  }
}

// Far out all three are x or 0, with slope 1 or 0, and nothing overflows on the way.
TEST(Activation, IsALineFarFromZero) {
  std::array<float, 4> x = {-1e20f, -200, 200, 1e20f}, y = {}, dx = {};
  std::array<float, 4> ones = {1, 1, 1, 1};
  const auto tensor = [](auto& values) {
    return Tensor{values.data(), {int64_t(values.size())}, DType::f32};
  };
  Stream s;
  for (Gelu kind : {Gelu::tanh, Gelu::exact}) {
    gelu_forward(s, tensor(y), tensor(x), kind);
    EXPECT_THAT(y, testing::ElementsAre(0, 0, 200, 1e20f));
    gelu_backward(s, tensor(dx), tensor(ones), tensor(x), kind);
    EXPECT_THAT(dx, testing::ElementsAre(0, 0, 1, 1));
  }
  std::array<float, 8> packed = {-1e20f, -200, 200, 1e20f, 1, 1, 1, 1}, dpacked = {};
  swiglu_forward(s, tensor(y), tensor(packed));
  EXPECT_THAT(y, testing::ElementsAre(0, 0, 200, 1e20f));
  swiglu_backward(s, tensor(dpacked), tensor(ones), tensor(packed));
  EXPECT_THAT(dpacked, testing::ElementsAre(0, 0, 1, 1, 0, 0, 200, 1e20f));
}

TEST(Activation, RefusesShapesThatDoNotFit) {
  Buffer memory(Device::cpu, 4096, "test");
  Stream s;
  const Tensor a = memory.tensor(0, {2, 6}, DType::f32), b = memory.tensor(0, {2, 3}, DType::f32);
  const Tensor c = memory.tensor(0, {2, 6}, DType::bf16);
  expect_error([&] { gelu_forward(s, a, b, Gelu::tanh); }, "y is f32 (2, 6)");
  expect_error([&] { gelu_backward(s, a, c, a, Gelu::exact); }, "dy is bf16");
  expect_error([&] { swiglu_forward(s, a, a); }, "twice the columns of y");
  expect_error([&] { swiglu_forward(s, b, c); }, "twice the columns of y");
  expect_error([&] { swiglu_backward(s, b, b, a); }, "dx is");
}

}  // namespace
}  // namespace limpid
