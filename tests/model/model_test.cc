#include "model/model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "tests/support/tiny_model.h"

namespace limpid {
namespace {

constexpr int64_t kBatch = 3, kContext = 12;

ModelConfig tiny_config(ModelKind kind) {
  ModelConfig c;
  c.kind = kind;
  c.layers = 3;
  c.width = 24;
  c.heads = 6;
  c.kv_heads = kind == ModelKind::llama ? 2 : 0;
  c.hidden = 40;
  c.vocab = 37;
  c.context = kContext;
  c.head_rows = 7;  // so that the head works in several pieces, the last one shorter
  c.init_deviation = 0.2;
  return c;
}

// Every feature at once: norms of q and k (llama), dropout, a mask at document boundaries, an
// untied head (llama).
ModelConfig rich_config(ModelKind kind) {
  ModelConfig c = tiny_config(kind);
  c.dtype = FloatKind::f64;
  c.dropout = 0.2;
  c.qk_norm = kind == ModelKind::llama;
  c.tied_head = kind == ModelKind::gpt;
  c.gelu = Gelu::exact;
  return c;
}

struct Tokens {
  explicit Tokens(const ModelConfig& c) {
    for (int64_t i = 0; i < kBatch * (kContext + 1); ++i)
      ids.push_back(int32_t(Random(3, "tokens").words(uint64_t(i))[0] % uint32_t(c.vocab)));
    for (int64_t b = 0; b < kBatch; ++b)
      for (int64_t t = 0; t < kContext; ++t) starts.push_back(int32_t(t < 5 ? 0 : t < 9 ? 5 : 9));
  }
  Tensor inputs() { return {ids.data(), {kBatch, kContext}, DType::i32}; }
  Tensor targets() { return {ids.data() + 1, {kBatch, kContext}, DType::i32}; }
  Tensor document_start() { return {starts.data(), {kBatch, kContext}, DType::i32}; }
  std::vector<int32_t> ids, starts;
};

void switch_on_everything(Ctx& ctx, Tokens& tokens) {
  ctx.training = true;
  ctx.seed = 5;
  ctx.step = 7;
  ctx.first_sample = 11;
  ctx.document_start = tokens.document_start();
}

class Models : public testing::TestWithParam<ModelKind> {};

// The gradient along a random direction against the central difference of the loss, in f64.
TEST_P(Models, GradientIsTheSlopeOfTheLoss) {
  const ModelConfig config = rich_config(GetParam());
  Tokens tokens(config);
  TinyModel tiny(config, kBatch, kContext);
  switch_on_everything(tiny.ctx, tokens);
  tiny.model.params().initialise(tiny.stream, 1);
  tiny.forward_backward(tokens.inputs(), tokens.targets());

  for (Param& param : tiny.model.params()) {
    const Random direction(2, param.name);
    double* const value = param.value.as<double>();
    std::vector<double> start(value, value + param.value.numel());
    double slope = 0;
    for (int64_t i = 0; i < param.value.numel(); ++i)
      slope += at(param.grad, i) * direction.normal(uint64_t(i));
    const auto loss_at = [&](double distance) {
      for (size_t i = 0; i < start.size(); ++i)
        value[i] = start[i] + distance * direction.normal(i);
      return tiny.evaluate(tokens.inputs(), tokens.targets());
    };
    constexpr double kStep = 1e-5;
    const double expected = (loss_at(kStep) - loss_at(-kStep)) / (2 * kStep);
    std::copy(start.begin(), start.end(), value);
    EXPECT_NEAR(slope, expected, 1e-6 * (1 + std::abs(expected))) << param.name;
  }
}

TEST_P(Models, RecomputationGivesTheSameBits) {
  ModelConfig config = tiny_config(GetParam());
  config.dropout = 0.1;
  Tokens tokens(config);
  TinyModel kept(config, kBatch, kContext);
  switch_on_everything(kept.ctx, tokens);
  kept.model.params().initialise(kept.stream, 1);
  const double loss = kept.forward_backward(tokens.inputs(), tokens.targets());
  for (Recompute recompute : {Recompute::selective, Recompute::full}) {
    TinyModel again(config, kBatch, kContext, recompute);
    switch_on_everything(again.ctx, tokens);
    again.model.params().initialise(again.stream, 1);
    EXPECT_EQ(again.forward_backward(tokens.inputs(), tokens.targets()), loss);
    EXPECT_LT(again.saved.high_water(), kept.saved.high_water());
    auto expected = kept.model.params().begin();
    for (const Param& param : again.model.params()) {
      EXPECT_EQ(std::memcmp(param.grad.data, expected->grad.data, size_t(param.grad.bytes())), 0)
          << param.name;
      ++expected;
    }
  }
}

// What a sequence gives does not depend on those beside it in the micro-batch: its dropout mask
// belongs to the sample.
TEST_P(Models, MicroBatchesSeeTheSameDropout) {
  ModelConfig config = tiny_config(GetParam());
  config.dropout = 0.3;
  Tokens tokens(config);
  TinyModel together(config, kBatch, kContext), alone(config, 1, kContext);
  switch_on_everything(together.ctx, tokens);
  switch_on_everything(alone.ctx, tokens);
  together.model.params().initialise(together.stream, 1);
  alone.model.params().initialise(alone.stream, 1);
  together.evaluate(tokens.inputs(), tokens.targets());
  for (int64_t b = 0; b < kBatch; ++b) {
    alone.ctx.first_sample = 11 + b;
    alone.ctx.document_start = tokens.document_start().slice(b, b + 1);
    alone.evaluate(tokens.inputs().slice(b, b + 1), tokens.targets().slice(b, b + 1));
    for (int64_t t = 0; t < kContext; ++t)
      EXPECT_NEAR(at(alone.losses, t), at(together.losses, b * kContext + t), 1e-5)
          << b << " " << t;
  }
}

TEST_P(Models, CountsAreWhatIsAllocated) {
  for (Recompute recompute : {Recompute::none, Recompute::selective, Recompute::full}) {
    for (bool rich : {false, true}) {
      const ModelConfig config = rich ? rich_config(GetParam()) : tiny_config(GetParam());
      Tokens tokens(config);
      TinyModel tiny(config, kBatch, kContext, recompute);
      tiny.ctx.training = true;
      EXPECT_EQ(tiny.model.params().count(), parameter_count(config));
      tiny.forward_backward(tokens.inputs(), tokens.targets());
      tiny.evaluate(tokens.inputs(), tokens.targets());
      EXPECT_EQ(tiny.saved.high_water(), tiny.need.saved) << int(recompute) << rich;
      EXPECT_EQ(tiny.scratch.high_water(), tiny.need.scratch) << int(recompute) << rich;
      const int64_t count = parameter_count(config),
                    padding = kAlignment * int64_t(tiny.model.params().size());
      EXPECT_NEAR(double(tiny.need.parameters), double(count * size_of(config.float_type())), 0);
      EXPECT_LE(tiny.model.params().value_bytes(), tiny.need.parameters + padding);
      EXPECT_LE(tiny.model.params().gradient_bytes(), tiny.need.gradients + padding);
    }
  }
}

TEST_P(Models, FlopsAreWhatIsExecuted) {
  ModelConfig config = tiny_config(GetParam());
  config.context = 64;
  TinyModel tiny(config, 1, 64);
  std::vector<int32_t> ids(65, 1);
  tiny.forward_backward({ids.data(), {1, 64}, DType::i32}, {ids.data() + 1, {1, 64}, DType::i32});
  // Attention's backward pass makes the scores again: seven matmuls where the formula counts six.
  const double counted = flops_per_token(config, 64) * 64;
  const double weights_alone = 6.0 * double(matmul_weight_count(config)) * 64;
  EXPECT_NEAR((tiny.stream.flops - weights_alone) / (counted - weights_alone), 7.0 / 6, 0.03);
}

TEST_P(Models, GenerationGivesTheLogitsOfTheWholeText) {
  ModelConfig config = tiny_config(GetParam());
  config.qk_norm = GetParam() == ModelKind::llama;
  Tokens tokens(config);
  TinyModel tiny(config, kBatch, kContext);
  tiny.model.params().initialise(tiny.stream, 1);
  std::vector<float> all(size_t(kBatch * kContext * config.vocab)),
      last(size_t(kBatch * config.vocab));
  tiny.model.logits(tiny.ctx, {all.data(), {kBatch, kContext, config.vocab}, DType::f32},
                    tokens.inputs());

  Model::Cache cache(config, kBatch, kContext);
  for (int64_t taken : {4, 1, 1, 5, 1}) {  // a prompt, then tokens one by one or several
    std::vector<int32_t> next;
    for (int64_t b = 0; b < kBatch; ++b)
      for (int64_t t = 0; t < taken; ++t)
        next.push_back(tokens.ids[size_t(b * kContext + cache.used + t)]);
    tiny.model.extend(tiny.ctx, {last.data(), {kBatch, config.vocab}, DType::f32},
                      {next.data(), {kBatch, taken}, DType::i32}, cache);
    for (int64_t b = 0; b < kBatch; ++b)
      for (int64_t v = 0; v < config.vocab; ++v)
        EXPECT_NEAR(last[size_t(b * config.vocab + v)],
                    all[size_t((b * kContext + cache.used - 1) * config.vocab + v)], 2e-5);
  }
  EXPECT_EQ(cache.used, kContext);
  EXPECT_THROW(tiny.model.extend(tiny.ctx, {last.data(), {kBatch, config.vocab}, DType::f32},
                                 tokens.inputs(), cache),
               Error);
}

TEST_P(Models, InitialValuesHaveTheirDeviation) {
  ModelConfig config = tiny_config(GetParam());
  config.width = 96;
  TinyModel tiny(config, kBatch, kContext);
  tiny.model.params().initialise(tiny.stream, 1);
  const auto deviation = [&](const std::string& name) {
    const Param& param = tiny.param(name);
    double squares = 0;
    for (int64_t i = 0; i < param.value.numel(); ++i) squares += std::pow(at(param.value, i), 2);
    return std::sqrt(squares / double(param.value.numel()));
  };
  EXPECT_NEAR(deviation("layers.1.attention.q.weight"), 0.2, 0.01);
  EXPECT_NEAR(deviation("embedding.weight"), 0.2, 0.01);
  EXPECT_NEAR(deviation("layers.1.attention.o.weight"), 0.2 / std::sqrt(6.0), 0.005);
  EXPECT_NEAR(deviation("layers.2.mlp.down.weight"), 0.2 / std::sqrt(6.0), 0.005);
  EXPECT_EQ(deviation("norm.weight"), 1);
}

TEST_P(Models, TakesTokensThatItKnowsOnly) {
  const ModelConfig config = tiny_config(GetParam());
  Tokens tokens(config);
  TinyModel tiny(config, kBatch, kContext);
  tokens.ids[4] = int32_t(config.vocab);
  EXPECT_THROW(tiny.evaluate(tokens.inputs(), tokens.targets()), Error);
}

INSTANTIATE_TEST_SUITE_P(Kinds, Models, testing::Values(ModelKind::gpt, ModelKind::llama),
                         [](const auto& kind) {
                           return kind.param == ModelKind::gpt ? "Gpt" : "Llama";
                         });

}  // namespace
}  // namespace limpid
