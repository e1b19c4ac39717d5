#include "optim/optimizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "optim/clip.h"
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

// The same steps in bf16 alone: each is lost or doubled, their mean is not.
TEST(Optimizer, Bf16StorageKeepsTheMeanOfSmallSteps) {
  for (const OptimizerKind kind : {OptimizerKind::adamw, OptimizerKind::sgd}) {
    Params params;
    params.add("w", {4096}, {.constant = 1});
    params.allocate(Device::cpu, DType::bf16, true);
    Stream stream;
    params.initialise(stream, 1);
    const OptimizerConfig config = {
        .kind = kind, .weight_decay = 0, .momentum = 0, .storage = Storage::bf16};
    const auto optimizer = make_optimizer(config, params, Device::cpu, 5);
    EXPECT_EQ(optimizer->bytes(), optimizer_bytes(config, 4096, DType::bf16));
    for (const auto& [name, tensor] : optimizer->state())
      EXPECT_EQ(tensor.dtype, DType::bf16) << name;
    std::fill_n(params.begin()->grad.as<float>(), 4096, 1.0f);
    for (int64_t step = 1; step <= 100; ++step) optimizer->update(stream, step, 1e-4, {});
    double sum = 0;
    for (int64_t i = 0; i < 4096; ++i) sum += at(params.begin()->value, i);
    EXPECT_NEAR(sum / 4096, 0.99, 0.0005);
  }
}

TEST(Optimizer, Bf16StorageIsForModelsInBf16) {
  Params params = make_params(DType::f32);
  try {
    make_optimizer({.storage = Storage::bf16}, params, Device::cpu);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("model.dtype"));
  }
}

// A model's parameters after steps of an optimizer on a device, and its state; f32 and bf16.
std::map<std::string, std::vector<double>> trained(Device device, OptimizerKind kind, DType dtype) {
  Params params;
  params.add("w", {70, 90}, {});
  params.add("b", {70}, {});
  params.allocate(device, dtype, true);
  Stream stream(device);
  Buffer staging;
  const auto fill = [&](const Tensor& to, std::string_view name, uint64_t step) {
    const Tensor host = host_twin(stream, to, staging);
    const Random random(1, name, step);
    with_dtype(host.dtype, [&]<class T>() {
      for (int64_t i = 0; i < host.numel(); ++i) host.as<T>()[i] = T(random.normal(uint64_t(i)));
    });
    copy(stream, to, host);
    synchronize(stream);
  };
  for (const Param& param : params) fill(param.value, param.name, 0);
  const auto optimizer = make_optimizer({.kind = kind, .weight_decay = 0.5}, params, device);
  optimizer->adopt_values(stream);
  const Buffer memory(device, 8, "loss");
  GradientNorm norm(params, device);
  for (int64_t step = 1; step <= 3; ++step) {
    for (const Param& param : params) fill(param.grad, param.name, uint64_t(step));
    norm.clip(stream, memory.tensor(0, {1}, DType::f64), 10);
    optimizer->update(stream, step, 0.01, norm.factor());
  }
  std::map<std::string, std::vector<double>> out;
  const auto keep = [&](const std::string& name, const Tensor& tensor) {
    const Tensor host = on_host(stream, tensor, staging);
    for (int64_t i = 0; i < host.numel(); ++i) out[name].push_back(at(host, i));
  };
  for (const auto& [name, tensor] : optimizer->state()) keep(name, tensor);
  for (const Param& param : params) keep(param.name, param.value);
  return out;
}

TEST(Optimizer, MovesAlikeOnEveryDevice) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const OptimizerKind kind :
         {OptimizerKind::adamw, OptimizerKind::lamb, OptimizerKind::lars, OptimizerKind::sgd}) {
      SCOPED_TRACE(format("optimizer {}, {}", int(kind), dtype));
      const auto cpu = trained(Device::cpu, kind, dtype);
      const auto gpu = trained(Device::cuda, kind, dtype);
      ASSERT_EQ(cpu.size(), gpu.size());
      for (const auto& [name, values] : cpu) {
        const bool rounded = dtype == DType::bf16 && name.find('/') == std::string::npos;
        EXPECT_THAT(gpu.at(name),
                    testing::Pointwise(testing::DoubleNear(rounded ? 0.02 : 2e-6), values))
            << name;
      }
    }
}

}  // namespace
}  // namespace limpid
