#include "kernels/activation.h"

#include "tests/reference/activation.h"
#include "tests/support/check_op.h"
#include "tests/support/numbers.h"

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
  for (const Shape& x : {Shape{1}, Shape{3, 7}, Shape{4500}, Shape{2, 2048}})
    check_op(GetParam(),
             gelu_case(x, Gelu::tanh, {[](auto& v) { v["y"] = reference::gelu_tanh(v["x"]); }}));
}

TEST_P(ActivationTest, GeluByErf) {
  for (const Shape& x : {Shape{1}, Shape{3, 7}, Shape{4500}, Shape{2, 2048}})
    check_op(GetParam(), gelu_case(x, Gelu::exact, Reference::real_only([](Values<double>& v) {
                                     v["y"] = reference::gelu_exact(v["x"]);
                                   })));
}

TEST_P(ActivationTest, SwiGlu) {
  for (const Shape& y :
       {Shape{1, 1}, Shape{2, 3, 17}, Shape{5, 1000}, Shape{40, 16}, Shape{2, 2560}}) {
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

using ActivationOn = testing::TestWithParam<Device>;
INSTANTIATE_TEST_SUITE_P(, ActivationOn, testing::Values(Device::cpu, Device::cuda),
                         [](const auto& device) { return to_string(device.param); });

// Far out all three are x or 0, with slope 1 or 0, and nothing overflows on the way.
TEST_P(ActivationOn, IsALineFarFromZero) {
  Stream s(GetParam());
  const std::vector<float> far = {-1e20f, -200, 200, 1e20f};
  const Numbers x(s, far), y(s, std::vector<float>(4)), dx(s, std::vector<float>(4));
  const Numbers ones(s, std::vector<float>(4, 1));
  for (Gelu kind : {Gelu::tanh, Gelu::exact}) {
    gelu_forward(s, y, x, kind);
    EXPECT_THAT(y.values(), testing::ElementsAre(0, 0, 200, 1e20f));
    gelu_backward(s, dx, ones, x, kind);
    EXPECT_THAT(dx.values(), testing::ElementsAre(0, 0, 1, 1));
  }
  const Numbers packed(s, std::vector<float>{-1e20f, -200, 200, 1e20f, 1, 1, 1, 1});
  const Numbers dpacked(s, std::vector<float>(8));
  swiglu_forward(s, y, packed);
  EXPECT_THAT(y.values(), testing::ElementsAre(0, 0, 200, 1e20f));
  swiglu_backward(s, dpacked, ones, packed);
  EXPECT_THAT(dpacked.values(), testing::ElementsAre(0, 0, 1, 1, 0, 0, 200, 1e20f));
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
