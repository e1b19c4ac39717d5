#include "optim/optimizer.h"

#include <gtest/gtest.h>

#include "tests/support/tiny_model.h"

namespace limpid {
namespace {

Params make_params(DType dtype) {
  Params params;
  params.add("layers.0.attention.q.weight", {2, 3}, {.deviation = 1});
  params.add("layers.0.norm1.weight", {3}, {.constant = 1});
  params.allocate(Device::cpu, dtype, true);
  Stream stream;
  params.initialise(stream, 1);
  return params;
}

TEST(Rules, MatchNamesAndDims) {
  const Params params = make_params(DType::f32);
  const Param &matrix = *params.begin(), &vector = *std::next(params.begin());
  EXPECT_TRUE(matches("1d", vector));
  EXPECT_FALSE(matches("1d", matrix));
  EXPECT_TRUE(matches("layers.*.q.weight", matrix));
  EXPECT_TRUE(matches("*norm*", vector));
  EXPECT_FALSE(matches("*norm*", matrix));
  EXPECT_FALSE(matches("layers", matrix));
}

TEST(Optimizer, NamesItsState) {
  Params params = make_params(DType::bf16);
  Stream stream;
  const auto optimizer = make_optimizer({}, params, Device::cpu);
  optimizer->adopt_values(stream);
  std::vector<std::string> names;
  for (const auto& [name, tensor] : optimizer->state()) {
    names.push_back(name);
    EXPECT_EQ(tensor.dtype, DType::f32) << name;
  }
  EXPECT_EQ(names, (std::vector<std::string>{
                       "master/layers.0.attention.q.weight", "m/layers.0.attention.q.weight",
                       "v/layers.0.attention.q.weight", "master/layers.0.norm1.weight",
                       "m/layers.0.norm1.weight", "v/layers.0.norm1.weight"}));
}

// Steps too small for bf16 add up in the f32 master.
TEST(Optimizer, MastersKeepWhatBf16Loses) {
  Params params = make_params(DType::bf16);
  Stream stream;
  Param& norm = *std::next(params.begin());
  float one = 1;
  const auto optimizer = make_optimizer({.lr = 1e-4, .weight_decay = 0}, params, Device::cpu);
  optimizer->adopt_values(stream);
  for (int64_t step = 1; step <= 100; ++step) {
    for (Param& param : params)
      for (int64_t i = 0; i < param.grad.numel(); ++i) param.grad.as<float>()[i] = 1;
    optimizer->update(stream, step, 1e-4, {&one, {1}, DType::f32});
    if (step == 1) {
      EXPECT_EQ(at(norm.value, 0), 1);
    }
  }
  EXPECT_NEAR(at(norm.value, 0), 0.99, 0.005);
}

TEST(Optimizer, DecayAndTrustFollowTheRules) {
  Params params = make_params(DType::f32);
  Stream stream;
  float one = 1;
  const float before = params.begin()->value.as<float>()[0];
  const auto optimizer = make_optimizer({.lr = 0.1, .weight_decay = 0.5}, params, Device::cpu);
  optimizer->update(stream, 1, 0.1, {&one, {1}, DType::f32});  // gradients are zero
  EXPECT_FLOAT_EQ(params.begin()->value.as<float>()[0], before * 0.95f);
  EXPECT_EQ(std::next(params.begin())->value.as<float>()[0], 1);
}

}  // namespace
}  // namespace limpid
