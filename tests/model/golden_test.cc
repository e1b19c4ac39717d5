// Whole models against traces that were computed in f64 elsewhere (tests/golden).
#include "tests/support/golden.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "optim/clip.h"
#include "optim/optimizer.h"
#include "tests/support/tiny_model.h"

namespace limpid {
namespace {

struct Case {
  const char* name;
  FloatKind dtype;
  double tolerance;  // of logits and gradients, relative to a tensor's largest value
  Device device = Device::cpu;
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.name << (c.dtype == FloatKind::f32 ? "_f32_" : "_f64_") << to_string(c.device);
}

class GoldenModel : public testing::TestWithParam<Case> {
 protected:
  GoldenModel() : golden(load_golden(GetParam().name)) { golden.config.dtype = GetParam().dtype; }

  Tensor batch(std::vector<int32_t>& ids, int64_t i) const {
    return {ids.data() + i * golden.B * golden.T, {golden.B, golden.T}, DType::i32};
  }
  void fill(TinyModel& tiny) const {
    ASSERT_EQ(tiny.model.params().size(), golden.weights.size());
    for (Param& param : tiny.model.params()) {
      const GoldenTensor& from = golden.weights.at(param.name);
      ASSERT_EQ(from.shape, param.shape) << param.name;
      const Tensor host = tiny.host(param.value);
      with_dtype(host.dtype, [&]<class T>() {
        for (size_t i = 0; i < from.values.size(); ++i) host.as<T>()[i] = T(from.values[i]);
      });
      copy(tiny.stream, param.value, host);
      synchronize(tiny.stream);
    }
  }
  // The largest difference, as a part of `size`.
  static double difference(const Tensor& ours, const GoldenTensor& theirs, double size) {
    double most = 0;
    for (int64_t i = 0; i < ours.numel(); ++i)
      most = std::max(most, std::abs(at(ours, i) - theirs.values[size_t(i)]));
    return most / size;
  }
  static double largest(const GoldenTensor& tensor) {
    double most = 0;
    for (double value : tensor.values) most = std::max(most, std::abs(value));
    return most;
  }

  Golden golden;
};

TEST_P(GoldenModel, LogitsLossAndGradients) {
  TinyModel tiny(golden.config, golden.B, golden.T, Recompute::none, GetParam().device);
  fill(tiny);
  const Tensor tokens = batch(golden.tokens, 0), targets = batch(golden.targets, 0);
  const double tolerance = GetParam().tolerance;

  const Shape shape = {golden.B, golden.T, golden.config.vocab};
  const Buffer buffer(GetParam().device, shape.numel() * 8, "logits");
  const Tensor logits = buffer.tensor(0, shape, golden.config.float_type());
  tiny.model.logits(tiny.ctx, logits, tiny.on_device(tokens, 0));
  EXPECT_LE(difference(tiny.host(logits), golden.logits, largest(golden.logits)), tolerance);

  EXPECT_NEAR(tiny.evaluate(tokens, targets) / golden.loss, 1, tolerance);
  EXPECT_NEAR(tiny.forward_backward(tokens, targets) / golden.loss, 1, tolerance);
  for (const Param& param : tiny.model.params()) {
    const GoldenTensor& expected = golden.gradients.at(param.name);
    // A key bias moves all scores of a query alike: its gradient is zero but for rounding.
    const bool key_bias = param.name.ends_with("attention.k.bias");
    EXPECT_LE(difference(tiny.host(param.grad), expected,
                         key_bias ? golden.grad_norm : largest(expected)),
              tolerance)
        << param.name;
  }
}

TEST_P(GoldenModel, SixStepsOfEachOptimizer) {
  ASSERT_EQ(golden.optimizers.size(), 3u);
  for (auto& [kind, steps] : golden.optimizers) {
    SCOPED_TRACE(kind);
    const Device device = GetParam().device;
    TinyModel tiny(golden.config, golden.B, golden.T, Recompute::none, device);
    fill(tiny);
    const auto optimizer = make_optimizer(steps.optimizer, tiny.model.params(), device);
    GradientNorm norm(tiny.model.params(), device);
    const Buffer zero_loss(device, 8, "loss");  // any finite number
    const Tensor finite = zero_loss.tensor(0, {1}, DType::f64);
    for (int64_t step = 0; step < golden.batches; ++step) {
      const double loss =
          tiny.forward_backward(batch(golden.tokens, step), batch(golden.targets, step));
      EXPECT_NEAR(loss / steps.losses[size_t(step)], 1, 1e-4) << "step " << step;
      norm.clip(tiny.stream, finite, steps.optimizer.clip);
      if (step == 0) {
        const double grad_norm = *tiny.host(norm.norm()).as<double>();
        EXPECT_NEAR(grad_norm / golden.grad_norm, 1, GetParam().tolerance);
      }
      optimizer->update(tiny.stream, step + 1, steps.optimizer.lr, norm.factor());
    }
    double squares = 0;
    for (const Param& param : tiny.model.params()) {
      const Tensor value = tiny.host(param.value);
      for (int64_t i = 0; i < value.numel(); ++i) squares += std::pow(at(value, i), 2);
    }
    EXPECT_NEAR(std::sqrt(squares) / steps.final_norm, 1, 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, GoldenModel,
                         testing::Values(Case{"gpt2-tiny", FloatKind::f32, 1e-5},
                                         Case{"gpt2-tiny", FloatKind::f64, 1e-6},
                                         Case{"llama-tiny", FloatKind::f32, 1e-5},
                                         Case{"llama-tiny", FloatKind::f64, 1e-6},
                                         Case{"llama-tied", FloatKind::f32, 1e-5},
                                         Case{"llama-tied", FloatKind::f64, 1e-6},
                                         Case{"gpt2-tiny", FloatKind::f32, 1e-5, Device::cuda},
                                         Case{"llama-tiny", FloatKind::f32, 1e-5, Device::cuda},
                                         Case{"llama-tied", FloatKind::f32, 1e-5, Device::cuda}),
                         [](const auto& of) {
                           std::string name = testing::PrintToString(of.param);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace limpid
