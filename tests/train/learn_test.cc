// A model must learn what is there to learn: a Markov source, whose entropy is known, to within 3%.
#include <gtest/gtest.h>

#include <cmath>

#include "core/random.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_corpus.h"
#include "train/trainer.h"

namespace limpid {
namespace {

constexpr int kStates = 24;
using Row = std::array<double, kStates>;

// Transition probabilities: a softmax of normals, so that some follow-ups are likely and none is
// sure.
std::array<Row, kStates> transitions() {
  std::array<Row, kStates> out;
  for (int from = 0; from < kStates; ++from) {
    double total = 0;
    for (int to = 0; to < kStates; ++to)
      total += out[size_t(from)][size_t(to)] =
          std::exp(1.5 * Random(4, "transitions").normal(uint64_t(from * kStates + to)));
    for (double& p : out[size_t(from)]) p /= total;
  }
  return out;
}

// Nats a token: sum over states of how often the chain is there times the entropy of what follows.
double entropy_rate(const std::array<Row, kStates>& p) {
  Row at;
  at.fill(1.0 / kStates);
  for (int i = 0; i < 1000; ++i) {
    Row next = {};
    for (int from = 0; from < kStates; ++from)
      for (int to = 0; to < kStates; ++to)
        next[size_t(to)] += at[size_t(from)] * p[size_t(from)][size_t(to)];
    at = next;
  }
  double entropy = 0;
  for (int from = 0; from < kStates; ++from)
    for (double q : p[size_t(from)]) entropy -= at[size_t(from)] * q * std::log(q);
  return entropy;
}

std::vector<int32_t> walk(const std::array<Row, kStates>& p, int64_t length, const char* name) {
  std::vector<int32_t> out = {0};
  while (int64_t(out.size()) < length) {
    double at = Random(4, name).uniform(out.size());
    int32_t to = 0;
    while (to + 1 < kStates && at >= p[size_t(out.back())][size_t(to)])
      at -= p[size_t(out.back())][size_t(to++)];
    out.push_back(to);
  }
  return out;
}

class Learns : public testing::TestWithParam<ModelKind> {};

TEST_P(Learns, AMarkovSourceToWithinThreePercentOfItsEntropy) {
  const TempFolder folder;
  const auto p = transitions();
  write_shard(folder / "train.h5", {walk(p, 200000, "train")});
  write_shard(folder / "validation.h5", {walk(p, 20000, "validation")});
  ModelConfig config;
  config.kind = GetParam();
  config.layers = 2;
  config.width = 48;
  config.heads = 4;
  config.vocab = 320;
  config.context = 64;
  DataConfig data;
  data.train = {(folder / "train.h5").string()};
  data.validation = {(folder / "validation.h5").string()};
  const TrainConfig train{.steps = 250, .batch = 16, .micro_batch = 16};
  const ScheduleConfig schedule{.warmup_steps = 20};
  const OptimizerConfig optimizer_config{.lr = 5e-3};

  Stream stream;
  Batches batches(data, config.context, config.vocab);
  Model model(config, Device::cpu, true);
  model.params().initialise(stream, 1);
  const auto optimizer = make_optimizer(optimizer_config, model.params(), Device::cpu);
  Trainer trainer(stream, {train, schedule, optimizer_config, 1, model, *optimizer, batches});
  const auto never = [] { return false; };
  const double before = *trainer.validate(batches.validation().at(0), never);
  Progress progress;
  while (progress.step < train.steps) {
    trainer.begin_step(progress, never);
    trainer.finish_step(progress, 0);
  }
  const double after = *trainer.validate(batches.validation().at(0), never);

  const double entropy = entropy_rate(p);
  EXPECT_GT(before, 1.5 * entropy);
  EXPECT_LT(after, 1.03 * entropy);
  EXPECT_GT(after, 0.97 * entropy);
}

INSTANTIATE_TEST_SUITE_P(Kinds, Learns, testing::Values(ModelKind::gpt, ModelKind::llama),
                         [](const auto& kind) {
                           return kind.param == ModelKind::gpt ? "Gpt" : "Llama";
                         });

}  // namespace
}  // namespace limpid
