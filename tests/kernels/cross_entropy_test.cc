#include "kernels/cross_entropy.h"

#include <numeric>

#include "core/random.h"
#include "tests/reference/cross_entropy.h"
#include "tests/support/check_op.h"
#include "tests/support/numbers.h"

namespace limpid {
namespace {

using CrossEntropyTest = OpTest;
INSTANTIATE_TEST_SUITE_P(, CrossEntropyTest, testing::ValuesIn(all_ops()), op_name);

std::vector<double> targets(int64_t R, int64_t V) {
  std::vector<double> out;
  for (int64_t r = 0; r < R; ++r) out.push_back(double(r % 4 == 2 ? -1 : (V - 1 + r * 37) % V));
  return out;
}

// The mean of a batch: every row's gradient arrives as 0.125. Over one token the loss is 0; 2500
// tokens are more than one chunk of a row, 33000 more than a block of a GPU keeps in registers.
TEST_P(CrossEntropyTest, LossesAndLogitsThatBecomeTheirGradient) {
  for (const auto& [R, V] :
       {std::pair<int64_t, int64_t>{6, 13}, {1, 1}, {3, 2500}, {3, 4096}, {2, 33000}}) {
    const Shape logits = {R, V};
    check_op(GetParam(),
             {.inputs = {activation("logits", logits), ids("targets", {R}, targets(R, V))},
              .outputs = {state("loss", {R}, std::vector<double>(size_t(R), 0.125))},
              .reference =
                  [](auto& v) { v["loss"] = reference::cross_entropy(v["logits"], v["targets"]); },
              .forward =
                  [](Stream& s, const Tensors& v) {
                    cross_entropy_forward(s, v["loss"], v["logits"], v["targets"]);
                  },
              .backward =
                  [](Stream& s, const Tensors& v) {
                    copy(s, v.d("logits"), v["logits"]);
                    cross_entropy_backward(s, v["loss"], v.d("logits"), v["targets"], 0.125f);
                  },
              .least = V == 1 ? 1.0 : 0.0});
  }
}

class CrossEntropy : public testing::TestWithParam<Device> {
 protected:
  // The losses of rows of f32 logits; the logits become their gradient of scale 1.
  std::vector<float> losses(std::vector<float>& logits, const std::vector<int32_t>& wanted) {
    const int64_t R = int64_t(wanted.size()), V = int64_t(logits.size()) / R;
    Stream s(GetParam());
    const Numbers x(s, logits, {R, V}), forward(s, std::vector<float>(wanted.size()));
    const Numbers backward(s, std::vector<float>(wanted.size()));
    const Numbers t(s, wanted);
    cross_entropy_forward(s, forward, x, t);
    cross_entropy_backward(s, backward, x, t, 1);
    logits = x.values();
    const std::vector<float> a = forward.values(), b = backward.values();
    EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin(), [](float left, float right) {
      return left == right || (std::isnan(left) && std::isnan(right));
    })) << "forward and backward tell different losses";
    return b;
  }
};
INSTANTIATE_TEST_SUITE_P(, CrossEntropy, testing::Values(Device::cpu, Device::cuda),
                         [](const auto& device) { return to_string(device.param); });

// The highest logit stands in the last chunk, so that all before it are summed anew.
TEST_P(CrossEntropy, BigLogitsNeitherOverflowNorVanish) {
  std::vector<float> logits(3000, 0);
  logits[2999] = 1e30f;
  EXPECT_EQ(losses(logits, {2999})[0], 0);
  EXPECT_EQ(*std::max_element(logits.begin(), logits.end()), 0);
  logits.assign(3000, -1e30f);
  EXPECT_NEAR(losses(logits, {5})[0], std::log(3000), 1e-5);
  EXPECT_NEAR(logits[4], 1 / 3000.0, 1e-9);
  EXPECT_NEAR(logits[5], 1 / 3000.0 - 1, 1e-6);
}

TEST_P(CrossEntropy, ImpossibleTokensHaveNoShare) {
  std::vector<float> logits(2048, -INFINITY);
  logits[2000] = logits[2001] = 3;
  EXPECT_NEAR(losses(logits, {2001})[0], std::log(2), 1e-6);
  EXPECT_EQ(logits[0], 0);
  EXPECT_NEAR(logits[2000], 0.5, 1e-6);
}

TEST_P(CrossEntropy, NotANumberShows) {
  std::vector<float> logits(100, 0);
  logits[50] = NAN;
  EXPECT_TRUE(std::isnan(losses(logits, {1})[0]));
}

TEST_P(CrossEntropy, GradientsOfARowAddUpToZero) {
  std::vector<float> logits(50304);
  const Random random(1, "logits");
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = float(3 * random.normal(i));
  losses(logits, {40000});
  EXPECT_NEAR(std::accumulate(logits.begin(), logits.end(), 0.0), 0, 1e-6);
}

using CrossEntropyOnTheHost = CrossEntropy;
INSTANTIATE_TEST_SUITE_P(, CrossEntropyOnTheHost, testing::Values(Device::cpu));

TEST_P(CrossEntropyOnTheHost, RefusesTargetsOutside) {
  std::vector<float> logits(8);
  expect_error([&] { losses(logits, {0, 4}); }, "targets hold 4, outside [-1, 4)");
  expect_error([&] { losses(logits, {0, -2}); }, "targets hold -2");
  float loss = 0;
  int32_t target = 0;
  Stream s;
  expect_error(
      [&] {
        cross_entropy_forward(s, {&loss, {1}, DType::f32}, {logits.data(), {2, 4}, DType::f32},
                              {&target, {1}, DType::i32});
      },
      "loss is");
}

}  // namespace
}  // namespace limpid
