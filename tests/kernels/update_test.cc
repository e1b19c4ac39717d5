#include "kernels/update.h"

#include "core/random.h"
#include "kernels/reduce.h"
#include "tests/reference/update.h"
#include "tests/support/check_op.h"

namespace limpid {
namespace {

using UpdateTest = OpTest;
INSTANTIATE_TEST_SUITE_P(, UpdateTest, testing::ValuesIn(all_ops()), op_name);

constexpr double kClip = 0.25;
const std::vector<Shape> kShapes = {{1}, {3, 7}, {2, 35001}};
const reference::AdamStep kStep = {
    .lr = 0.01, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .decay = 0.1, .step = 3};

Adam adam() {
  return {.lr = kStep.lr,
          .beta1 = kStep.beta1,
          .beta2 = kStep.beta2,
          .eps = kStep.eps,
          .decay = kStep.decay,
          .correction1 = 1 - std::pow(kStep.beta1, kStep.step),
          .correction2 = 1 - std::pow(kStep.beta2, kStep.step)};
}

std::vector<double> squares(int64_t count) {
  const Random random(1, "v");
  std::vector<double> out;
  for (int64_t i = 0; i < count; ++i) out.push_back(std::pow(random.normal(uint64_t(i)), 2));
  return out;
}

// Outputs p, m, v from inputs of the names with 0; g0 is clipped, copy is p in the model's dtype.
OpCase update_case(const Shape& shape, bool has_v, std::function<void(Values<double>&)> formula,
                   OpCall call) {
  OpCase out = {.inputs = {state("p0", shape), state("m0", shape), state("g0", shape),
                           state("clip", {1}, {kClip})},
                .outputs = {state("p", shape), state("m", shape), constant("copy", shape)},
                .saved = {Slot{"norms", {2}, Slot::Type::f64}},
                .reference = Reference::real_only([=](Values<double>& v) {
                  for (std::string name : {"p", "m", "v", "g"})
                    if (v.contains(name + "0")) v[name] = v[name + "0"];
                  for (double& g : v["g"].data) g *= kClip;
                  formula(v);
                  v["copy"] = v["p"];
                }),
                .forward = [=](Stream& s, const Tensors& v) {
                  copy(s, v["p"], v["p0"]);
                  copy(s, v["m"], v["m0"]);
                  if (has_v) copy(s, v["v"], v["v0"]);
                  call(s, v);
                }};
  if (has_v) {
    out.inputs.push_back(state("v0", shape, squares(shape.numel())));
    out.outputs.push_back(state("v", shape));
  }
  return out;
}

TEST_P(UpdateTest, AdamW) {
  for (const Shape& shape : kShapes)
    check_op(
        GetParam(),
        update_case(
            shape, true, [](auto& v) { reference::adamw(v["p"], v["m"], v["v"], v["g"], kStep); },
            [](Stream& s, const Tensors& v) {
              adamw_update(s, v["p"], v["copy"], v["m"], v["v"], v["g0"], v["clip"], adam());
            }));
}

TEST_P(UpdateTest, Lamb) {
  for (bool adapt : {true, false})
    for (const Shape& shape : kShapes)
      check_op(GetParam(),
               update_case(
                   shape, true,
                   [=](auto& v) { reference::lamb(v["p"], v["m"], v["v"], v["g"], adapt, kStep); },
                   [=](Stream& s, const Tensors& v) {
                     lamb_moments(s, v["norms"], v["p"], v["m"], v["v"], v["g0"], v["clip"],
                                  adam());
                     lamb_update(s, v["p"], v["copy"], v["m"], v["v"], v["norms"], adapt, adam());
                   }));
}

TEST_P(UpdateTest, Lars) {
  const reference::MomentumStep step = {
      .lr = 2, .momentum = 0.9, .decay = 0.01, .trust = 0.02, .eps = 1e-9};
  for (bool adapt : {true, false})
    for (const Shape& shape : kShapes)
      check_op(
          GetParam(),
          update_case(
              shape, false, [=](auto& v) { reference::lars(v["p"], v["m"], v["g"], adapt, step); },
              [=](Stream& s, const Tensors& v) {
                sum_squares(s, v["norms"].slice(0, 1), v["p"]);
                sum_squares(s, v["norms"].slice(1, 2), v["g0"]);
                lars_update(s, v["p"], v["copy"], v["m"], v["g0"], v["clip"], v["norms"], adapt,
                            {.lr = step.lr,
                             .momentum = step.momentum,
                             .decay = step.decay,
                             .trust = step.trust,
                             .eps = step.eps});
              }));
}

TEST_P(UpdateTest, Sgd) {
  for (bool nesterov : {true, false})
    for (const Shape& shape : kShapes)
      check_op(GetParam(),
               update_case(
                   shape, false,
                   [=](auto& v) {
                     reference::sgd(v["p"], v["m"], v["g"], {0.1, 0.9, 0.01, nesterov});
                   },
                   [=](Stream& s, const Tensors& v) {
                     sgd_update(s, v["p"], v["copy"], v["m"], v["g0"], v["clip"],
                                {.lr = 0.1, .momentum = 0.9, .decay = 0.01, .nesterov = nesterov});
                   }));
}

class Update : public testing::Test {
 protected:
  Tensor tensor(int64_t i, Shape shape = {8}, DType dtype = DType::f32) {
    return memory_.tensor(i * 256, shape, dtype);
  }
  void set(const Tensor& x, float value) { std::fill_n(x.as<float>(), x.numel(), value); }
  Buffer memory_ = Buffer(Device::cpu, 4096, "test");
  Stream s_;
};

// A tensor of zeros, or a gradient of zeros, moves at the plain rate instead of not at all or to
// NaN.
TEST_F(Update, TrustRatioOfNothingIsOne) {
  const Tensor p = tensor(0), m = tensor(1), v = tensor(2), g = tensor(3);
  const Tensor norms = tensor(4, {2}, DType::f64);
  set(g, 1);
  const Adam step = {.lr = 0.5, .beta1 = 0, .beta2 = 0, .eps = 0};
  lamb_moments(s_, norms, p, m, v, g, {}, step);
  EXPECT_EQ(norms.as<double>()[0], 0);
  EXPECT_EQ(norms.as<double>()[1], 8);
  lamb_update(s_, p, {}, m, v, norms, true, step);
  EXPECT_EQ(p.as<float>()[7], -0.5f);
  set(p, 0);
  set(m, 0);
  lars_update(s_, p, {}, m, g, {}, norms, true, {.lr = 0.5, .trust = 0.001});
  EXPECT_EQ(p.as<float>()[7], -0.5f);
}

// What LAMB calls |p| is what sum_squares() says of p, to the bit.
TEST_F(Update, LambAddsNormsAsSumSquaresDoes) {
  const int64_t count = 70001;
  Buffer memory(Device::cpu, 4 * 65536 * 8, "test");
  const auto large = [&](int64_t i) { return memory.tensor(i * 65536 * 8, {count}, DType::f32); };
  const Random random(1, "p");
  for (int64_t i = 0; i < count; ++i) large(0).as<float>()[i] = float(random.normal(uint64_t(i)));
  const Tensor norms = tensor(4, {2}, DType::f64), square = tensor(5, {1}, DType::f64);
  lamb_moments(s_, norms, large(0), large(1), large(2), large(3), {}, {.eps = 1, .decay = 0.5});
  sum_squares(s_, square, large(0));
  EXPECT_EQ(norms.as<double>()[0], square.as<double>()[0]);
  EXPECT_DOUBLE_EQ(norms.as<double>()[1], square.as<double>()[0] / 4);
}

// 1 - beta2 in f32 would have lost four of its seven digits before the first step.
TEST_F(Update, ScalarsKeepTheirDigits) {
  const Tensor p = tensor(0), m = tensor(1), v = tensor(2), g = tensor(3);
  set(g, 2);
  adamw_update(s_, p, {}, m, v, g, {}, {.lr = 0.1, .beta1 = 0.9, .beta2 = 0.9999, .eps = 1e-8});
  EXPECT_FLOAT_EQ(v.as<float>()[0], 4e-4f);
  EXPECT_FLOAT_EQ(m.as<float>()[0], 0.2f);
}

TEST_F(Update, WorksWithoutCopyAndClip) {
  const Tensor p = tensor(0), m = tensor(1), g = tensor(2);
  set(p, 1);
  set(g, 2);
  sgd_update(s_, p, {}, m, g, {}, {.lr = 0.25});
  EXPECT_EQ(p.as<float>()[0], 0.5f);
}

TEST_F(Update, RefusesWhatDoesNotFit) {
  const Tensor p = tensor(0), bad = tensor(1, {7}), norms = tensor(2, {2}, DType::f64);
  const Tensor half = tensor(3, {8}, DType::bf16);
  expect_error([&] { adamw_update(s_, p, {}, bad, p, p, {}, {}); }, "f32 (7), but p is f32 (8)");
  expect_error([&] { adamw_update(s_, half, {}, half, half, half, {}, {}); }, "p is bf16");
  expect_error([&] { adamw_update(s_, p, bad, p, p, p, {}, {}); }, "copy is (7)");
  expect_error([&] { adamw_update(s_, p, {}, p, p, p, norms, {}); }, "clip is");
  expect_error([&] { lamb_moments(s_, p, p, p, p, p, {}, {}); }, "norms is");
  expect_error([&] { lars_update(s_, p, {}, p, bad, {}, norms, true, {}); }, "f32 (7)");
}

}  // namespace
}  // namespace limpid
