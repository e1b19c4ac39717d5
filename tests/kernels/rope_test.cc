#include "kernels/rope.h"

#include "tests/reference/rope.h"
#include "tests/support/check_op.h"

namespace limpid {
namespace {

using RopeTest = OpTest;
INSTANTIATE_TEST_SUITE_P(, RopeTest, testing::ValuesIn(all_ops()), op_name);

// Three of four heads turn, from position 5 on.
OpCase rope_case(const RopeScaling& scaling, const reference::Angle& angle, int64_t D = 10) {
  const Shape x = {2, 7, 4, D};
  return {.inputs = {activation("x", x)},
          .outputs = {activation("y", x)},
          .saved = {state("table", {12, 2, D / 2})},
          .reference = [=](auto& v) { v["y"] = reference::rope(v["x"], angle, 3, 5); },
          .forward =
              [=](Stream& s, const Tensors& v) {
                const Tensor table = v["table"];
                const Buffer host(Device::cpu, table.bytes(), "table");
                rope_table(host.tensor(0, table.shape, table.dtype), angle.theta, scaling);
                copy(s, table, host.tensor(0, table.shape, table.dtype));
                synchronize(s);
                copy(s, v["y"], v["x"]);
                rope_forward(s, v["y"], v["table"], 3, 5);
              },
          .backward =
              [](Stream& s, const Tensors& v) {
                copy(s, v.d("x"), v.d("y"));
                rope_backward(s, v.d("x"), v["table"], 3, 5);
              }};
}

TEST_P(RopeTest, TurnsTheFirstHeads) {
  for (int64_t D : {2, 10, 48}) check_op(GetParam(), rope_case({}, {.theta = 10000}, D));
}

// With 40 positions of original context the pairs here fall into all three ranges.
TEST_P(RopeTest, StretchesLongWaves) {
  const RopeScaling scaling = {
      .factor = 8, .low_freq_factor = 1, .high_freq_factor = 4, .original_context = 40};
  check_op(GetParam(),
           rope_case(scaling, {.theta = 500, .factor = 8, .low = 1, .high = 4, .context = 40}));
}

TEST(Rope, TableIsThatOfFarPositionsToo) {
  const int64_t T = 70000, D = 64;
  Buffer memory(Device::cpu, T * D * 4, "test");
  const Tensor table = memory.tensor(0, {T, 2, D / 2}, DType::f32);
  rope_table(table, 5e5, {});
  const reference::Angle angle = {.theta = 5e5};
  for (int64_t t : {int64_t(0), int64_t(1), T - 1})
    for (int64_t j = 0; j < D / 2; ++j) {
      EXPECT_NEAR(table.as<float>()[t * D + j], std::cos(angle(t, j, D)), 1e-7);
      EXPECT_NEAR(table.as<float>()[t * D + D / 2 + j], std::sin(angle(t, j, D)), 1e-7);
    }
}

TEST(Rope, RefusesWhatDoesNotFit) {
  Buffer memory(Device::cpu, 4096, "test");
  Stream s;
  const Tensor x = memory.tensor(0, {1, 4, 2, 6}, DType::f32);
  const Tensor table = memory.tensor(0, {4, 2, 3}, DType::f32);
  expect_error([&] { rope_forward(s, x, table, 2, 1); }, "positions 1 to 5");
  expect_error([&] { rope_forward(s, x, table, 2, -1); }, "positions -1");
  expect_error([&] { rope_forward(s, x, table, 3, 0); }, "cannot rotate 3 heads");
  expect_error([&] { rope_forward(s, x, memory.tensor(0, {4, 2, 4}, DType::f32), 2, 0); }, "table");
  expect_error([&] { rope_forward(s, x, memory.tensor(0, {4, 2, 3}, DType::f64), 2, 0); }, "table");
  expect_error(
      [&] {
        rope_forward(s, memory.tensor(0, {1, 4, 2, 5}, DType::f32), table, 1, 0);
      },
      "cannot rotate");
  expect_error([&] { rope_table(x, 1e4, {}); }, "need (T,2,D/2)");
  expect_error([&] { rope_table(table, 1e4, {.factor = 0}); }, "factor > 0");
}

}  // namespace
}  // namespace limpid
