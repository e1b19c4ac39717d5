#include "kernels/qk_norm.h"

#include "tests/reference/norm.h"
#include "tests/support/check_op.h"

namespace limpid {
namespace {

using QkNormTest = OpTest;
INSTANTIATE_TEST_SUITE_P(, QkNormTest, testing::ValuesIn(all_ops()), op_name);

constexpr float kEps = 1e-6f;

// Grouped heads, as many keys as queries, more tokens than one block of weight gradients, and heads
// of all widths that GPUs tell apart, with more tokens than their threads take at once.
TEST_P(QkNormTest, NormalisesQueriesAndKeysAndPassesValues) {
  struct Heads {
    int64_t tokens, queries, keys, D;
  };
  for (const Heads n :
       {Heads{3, 4, 2, 8}, Heads{1, 2, 2, 6}, Heads{67, 2, 1, 5}, Heads{300, 1, 1, 16},
        Heads{67, 1, 1, 64}, Heads{67, 2, 1, 128}, Heads{5, 1, 1, 256}, Heads{5, 1, 1, 100}}) {
    const Shape x = {2, n.tokens, n.queries + 2 * n.keys, n.D};
    check_op(GetParam(), {.inputs = {activation("x", x), weight("wq", {n.D}), weight("wk", {n.D})},
                          .outputs = {activation("y", x)},
                          .saved = {state("rstd", {2, n.tokens, n.queries + n.keys})},
                          .reference =
                              [n](auto& v) {
                                v["y"] =
                                    reference::qk_norm(v["x"], v["wq"], v["wk"], n.queries, kEps);
                              },
                          .forward =
                              [n](Stream& s, const Tensors& v) {
                                qk_norm_forward(s, v["y"], v["rstd"], v["x"], v["wq"], v["wk"],
                                                n.queries, kEps);
                              },
                          .backward =
                              [n](Stream& s, const Tensors& v) {
                                copy(s, v.d("x"), v.d("y"));  // dx may be dy itself
                                qk_norm_backward(s, v.d("x"), v.d("wq"), v.d("wk"), v.d("x"),
                                                 v["x"], v["wq"], v["wk"], v["rstd"], n.queries);
                              }});
  }
}

TEST_P(QkNormTest, WritesItsGradientBesideTheOneThatArrives) {
  const Shape x = {1, 3, 4, 8};
  check_op(
      GetParam(),
      {.inputs = {activation("x", x), weight("wq", {8}), weight("wk", {8})},
       .outputs = {activation("y", x)},
       .saved = {state("rstd", {1, 3, 3})},
       .reference = [](auto& v) { v["y"] = reference::qk_norm(v["x"], v["wq"], v["wk"], 2, kEps); },
       .forward =
           [](Stream& s, const Tensors& v) {
             qk_norm_forward(s, v["y"], v["rstd"], v["x"], v["wq"], v["wk"], 2, kEps);
           },
       .backward =
           [](Stream& s, const Tensors& v) {
             qk_norm_backward(s, v.d("x"), v.d("wq"), v.d("wk"), v.d("y"), v["x"], v["wq"], v["wk"],
                              v["rstd"], 2);
           }});
}

TEST(QkNorm, RefusesHeadsThatDoNotFit) {
  Buffer memory(Device::cpu, 4096, "test");
  Stream s;
  const Tensor x = memory.tensor(0, {1, 2, 6, 4}, DType::f32);
  const Tensor w = memory.tensor(0, {4}, DType::f32),
               rstd = memory.tensor(0, {1, 2, 5}, DType::f32);
  expect_error([&] { qk_norm_forward(s, x, rstd, x, w, w, 3, kEps); }, "6 heads in all");
  expect_error([&] { qk_norm_forward(s, x, rstd, x, w, w, 6, kEps); }, "6 heads in all");
  expect_error([&] { qk_norm_forward(s, x, w, x, w, w, 4, kEps); }, "rstd is");
  expect_error([&] { qk_norm_forward(s, x, rstd, x, rstd, w, 4, kEps); }, "wq is");
}

}  // namespace
}  // namespace limpid
