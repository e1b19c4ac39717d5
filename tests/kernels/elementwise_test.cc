#include "kernels/elementwise.h"

#include "tests/reference/elementwise.h"
#include "tests/support/check_op.h"

namespace limpid {
namespace {

using ElementwiseTest = OpTest;
INSTANTIATE_TEST_SUITE_P(, ElementwiseTest, testing::ValuesIn(all_ops()), op_name);

// The last is more than the threads of a GPU take at once.
const std::vector<Shape> kShapes = {{1}, {3, 5}, {2, 4099}, {9, 8192}};

TEST_P(ElementwiseTest, Add) {
  for (const Shape& x : kShapes)
    check_op(GetParam(),
             {.inputs = {activation("a", x), activation("b", x)},
              .outputs = {activation("y", x)},
              .reference = [](auto& v) { v["y"] = reference::add(v["a"], v["b"]); },
              .forward = [](Stream& s, const Tensors& v) { add(s, v["y"], v["a"], v["b"]); }});
}

TEST_P(ElementwiseTest, AddIntoOneOfItsInputs) {
  check_op(GetParam(), {.inputs = {activation("a", {9000}), activation("b", {9000})},
                        .outputs = {activation("y", {9000})},
                        .reference = [](auto& v) { v["y"] = reference::add(v["a"], v["b"]); },
                        .forward =
                            [](Stream& s, const Tensors& v) {
                              copy(s, v["y"], v["b"]);
                              add(s, v["y"], v["a"], v["y"]);
                            }});
}

TEST_P(ElementwiseTest, Scale) {
  for (const Shape& x : kShapes)
    check_op(GetParam(), {.inputs = {activation("x", x)},
                          .outputs = {activation("y", x)},
                          .reference = [](auto& v) { v["y"] = reference::scale(v["x"], 0.3f); },
                          .forward =
                              [](Stream& s, const Tensors& v) {
                                copy(s, v["y"], v["x"]);
                                scale(s, v["y"], 0.3f);
                              }});
}

// The mask is that of words 7 ... or 8 ..., taken one by one.
TEST_P(ElementwiseTest, Dropout) {
  constexpr float p = 0.3f;
  const Random mask(5, "dropout", 2);
  for (const auto& [first, x] :
       {std::pair<int64_t, Shape>{7, {1}}, {7, {2, 4099}}, {8, {9, 8192}}}) {
    const auto keeps = [=, first = uint64_t(first)](int64_t i) {
      const uint64_t word = uint64_t(i) + first;
      return mask.words(word / 4)[word % 4] >= uint32_t(double(p) * 4294967296.0);
    };
    check_op(GetParam(),
             {.inputs = {activation("x", x)},
              .outputs = {activation("y", x)},
              .reference = [=](auto& v) { v["y"] = reference::dropout(v["x"], p, keeps); },
              .forward = [=, first = first](
                             Stream& s,
                             const Tensors& v) { dropout(s, v["y"], v["x"], p, mask, first); },
              .backward =
                  [=, first = first](Stream& s, const Tensors& v) {
                    copy(s, v.d("x"), v.d("y"));
                    dropout(s, v.d("x"), v.d("x"), p, mask, first);
                  }});
  }
}

// Whoever holds the second half of a batch draws the second half of its mask.
TEST(Dropout, DoesNotDependOnTheSplit) {
  std::vector<float> x(10000, 1), whole(x.size()), parts(x.size());
  const auto tensor = [](std::vector<float>& values, int64_t begin, int64_t end) {
    return Tensor{values.data() + begin, {end - begin}, DType::f32};
  };
  Stream s;
  const Random mask(1, "x");
  dropout(s, tensor(whole, 0, 10000), tensor(x, 0, 10000), 0.5f, mask, 100);
  dropout(s, tensor(parts, 0, 4321), tensor(x, 0, 4321), 0.5f, mask, 100);
  dropout(s, tensor(parts, 4321, 10000), tensor(x, 4321, 10000), 0.5f, mask, 100 + 4321);
  EXPECT_EQ(whole, parts);
  EXPECT_THAT(whole, testing::Contains(0.0f));
  EXPECT_THAT(whole, testing::Contains(2.0f));
}

TEST(Elementwise, RefusesShapesThatDoNotFit) {
  Buffer memory(Device::cpu, 4096, "test");
  Stream s;
  const Tensor a = memory.tensor(0, {2, 6}, DType::f32), b = memory.tensor(0, {2, 3}, DType::f32);
  expect_error([&] { add(s, a, a, b); }, "b is f32 (2, 3)");
  expect_error([&] { add(s, a, b, b); }, "y is f32 (2, 6)");
  expect_error([&] { dropout(s, a, b, 0.5f, Random(0, ""), 0); }, "y is");
  expect_error([&] { dropout(s, a, a, 1.0f, Random(0, ""), 0); }, "dropout of 1");
  expect_error([&] { dropout(s, a, a, 0.5f, Random(0, ""), -1); }, "first index");
  expect_error([&] { scale(s, memory.tensor(0, {2}, DType::i32), 2); }, "i32");
}

}  // namespace
}  // namespace limpid
