#include "train/run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "checkpoint/load.h"
#include "recipes/recipe.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_corpus.h"

namespace limpid {
namespace {

// Everything of limpid-train but its command line.
struct Session {
  Session(const Recipe& recipe_, const Path& folder, Device device = Device::cpu)
      : recipe(recipe_),
        stream(device),
        batches(recipe.data, recipe.model.context, recipe.model.vocab),
        model(recipe.model, device, true),
        optimizer(make_optimizer(recipe.optimizer, model.params(), device)),
        trainer(stream, {recipe.train, recipe.schedule, recipe.optimizer, recipe.seed, model,
                         *optimizer, batches}),
        run({recipe.checkpoint, folder, true, stream, model, *optimizer, batches},
            {recipe.to_toml(), "{}"}),
        progress(run.begin(recipe.seed, recipe.train.resume, [](const std::string&) {})) {}

  void train_until(int64_t step) {
    while (progress.step < step) {
      trainer.begin_step(progress, [] { return false; });
      while (const auto result = trainer.finish_step(progress, trainer.ahead()))
        records.push_back(run.step(*result));
    }
    while (const auto result = trainer.finish_step(progress, 0))
      records.push_back(run.step(*result));
  }

  Recipe recipe;
  Stream stream;
  Batches batches;
  Model model;
  std::unique_ptr<Optimizer> optimizer;
  Trainer trainer;
  Run run;
  Progress progress;
  std::vector<StepRecord> records;
};

struct Case {
  OptimizerKind kind = OptimizerKind::adamw;
  Device device = Device::cpu;
  double dropout = 0.1;  // 0: a GPU replays recorded graphs
};

class Runs : public testing::TestWithParam<Case> {
 protected:
  Runs() {
    write_random_shard(folder_ / "a.h5", 9000, 1);
    write_random_shard(folder_ / "b.h5", 4000, 2);
    write_random_shard(folder_ / "v.h5", 3000, 3);
    recipe_ = Recipe::parse(
        R"(
[model]
layers = 2
width = 32
heads = 4
kv_heads = 2
vocab = 320
context = 32
dropout = 0.1
[data]
document_mask = true
weights = [3, 1]
[train]
steps = 20
batch = 8
micro_batch = 2
ramp_batch = 4
ramp_samples = 60
[optimizer]
lr = 0.003
[schedule]
warmup_steps = 3
)",
        "test.toml", {format("data.train=[\"{0}/a.h5\", \"{0}/b.h5\"]", folder_.path().string())});
    recipe_.data.validation = {"held_out=" + (folder_ / "v.h5").string()};
    recipe_.optimizer.kind = GetParam().kind;
    recipe_.model.dropout = GetParam().dropout;
    if (GetParam().kind == OptimizerKind::lars) recipe_.optimizer.lr = 1;
  }

  TempFolder folder_;
  Recipe recipe_;
};

bool equal_bits(const Tensor& a, const Tensor& b) {
  return std::memcmp(a.data, b.data, size_t(a.bytes())) == 0;
}

TEST_P(Runs, AllStepsAreHalfAndResumeAndHalf) {
  const int64_t all = GetParam().device == Device::cuda ? 6 : 20, half = all / 2;
  Session whole(recipe_, folder_ / "whole", GetParam().device);
  whole.train_until(all);
  std::vector<StepRecord> records;
  {
    Session first(recipe_, folder_ / "parts", GetParam().device);
    first.train_until(half);
    EXPECT_TRUE(first.run.save(first.progress));
    records = first.records;
    first.train_until(half + 1);  // steps after the checkpoint are lost, and done again
  }
  Session second(recipe_, folder_ / "parts", GetParam().device);
  EXPECT_EQ(second.progress.step, half);
  second.train_until(all);
  records.insert(records.end(), second.records.begin(), second.records.end());

  ASSERT_EQ(records.size(), whole.records.size());
  for (size_t i = 0; i < records.size(); ++i) {
    EXPECT_EQ(records[i].loss, whole.records[i].loss) << i;
    EXPECT_EQ(records[i].grad_norm, whole.records[i].grad_norm) << i;
    EXPECT_EQ(records[i].digest, whole.records[i].digest) << i;
    EXPECT_EQ(records[i].order_hash, whole.records[i].order_hash) << i;
    EXPECT_EQ(records[i].first_sample, whole.records[i].first_sample) << i;
  }
  const auto expect_equal = [&](const std::vector<NamedTensor>& a,
                                const std::vector<NamedTensor>& b) {
    Buffer one, two;
    for (size_t i = 0; i < a.size(); ++i)
      EXPECT_TRUE(equal_bits(on_host(whole.stream, a[i].tensor, one),
                             on_host(second.stream, b[i].tensor, two)))
          << a[i].name;
  };
  expect_equal(named_values(whole.model.params()), named_values(second.model.params()));
  expect_equal(named_state(*whole.optimizer), named_state(*second.optimizer));
}

std::string name_of(const testing::TestParamInfo<Case>& info) {
  constexpr std::array kNames = {"AdamW", "Lamb", "Lars", "Sgd"};
  return format("{}_{}{}", kNames[size_t(info.param.kind)], info.param.device,
                info.param.dropout > 0 ? "_dropout" : "");
}

INSTANTIATE_TEST_SUITE_P(Optimizers, Runs,
                         testing::Values(Case{OptimizerKind::adamw}, Case{OptimizerKind::lamb},
                                         Case{OptimizerKind::lars}, Case{OptimizerKind::sgd}),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Slow, Runs,
                         testing::Values(Case{OptimizerKind::adamw, Device::cuda},
                                         Case{OptimizerKind::lamb, Device::cuda, 0}),
                         name_of);

class AdamWRuns : public Runs {};
class CudaRuns : public Runs {};

TEST_P(AdamWRuns, BatchGrowsAsTheRampSays) {
  Session session(recipe_, folder_ / "run");
  session.train_until(20);
  int64_t samples = 0;
  for (const StepRecord& record : session.records) {
    EXPECT_EQ(record.samples, samples < 60 ? 4 : 8);
    EXPECT_EQ(record.first_sample, samples);
    samples += record.samples;
  }
  EXPECT_EQ(session.progress.tokens, samples * 32);
}

TEST_P(AdamWRuns, AccumulationIsOneLargeBatch) {
  recipe_.model.dropout = 0.1;  // its mask belongs to the sample, so it does not change
  Session small(recipe_, folder_ / "small");
  small.train_until(5);
  recipe_.train.micro_batch = 4;
  Session large(recipe_, folder_ / "large");
  large.train_until(5);
  for (size_t i = 0; i < 5; ++i)
    EXPECT_NEAR(small.records[i].loss, large.records[i].loss, 1e-4) << i;
}

TEST_P(AdamWRuns, SkipsWhatIsNotFiniteAndStopsAfterSome) {
  recipe_.train.max_skipped = 3;
  Session session(recipe_, folder_ / "run");
  session.train_until(2);
  Param& norm = *std::find_if(session.model.params().begin(), session.model.params().end(),
                              [](const Param& param) { return param.name == "norm.weight"; });
  float& weight = norm.value.as<float>()[0];
  const float before = std::exchange(weight, std::numeric_limits<float>::infinity());
  session.train_until(4);
  EXPECT_TRUE(session.records.back().skipped);
  EXPECT_EQ(session.progress.skipped_in_a_row, 2);
  weight = before;
  session.train_until(5);
  EXPECT_FALSE(session.records.back().skipped);
  EXPECT_EQ(session.progress.skipped_in_a_row, 0);
  weight = std::numeric_limits<float>::quiet_NaN();
  try {
    session.train_until(20);
    FAIL() << "went on";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("step 8: "));
    EXPECT_THAT(error.what(), testing::HasSubstr("optimizer.lr"));
  }
}

TEST_P(AdamWRuns, AStopBetweenMicroBatchesChangesNothing) {
  Session whole(recipe_, folder_ / "whole"), stopped(recipe_, folder_ / "stopped");
  whole.train_until(4);
  stopped.train_until(3);
  int asked = 0;
  EXPECT_FALSE(stopped.trainer.begin_step(stopped.progress, [&] { return ++asked == 2; }));
  EXPECT_EQ(stopped.progress.step, 3);
  stopped.train_until(4);
  EXPECT_EQ(stopped.records.back().digest, whole.records.back().digest);
}

TEST_P(AdamWRuns, ValidationDoesNotDisturb) {
  Session whole(recipe_, folder_ / "whole"), scored(recipe_, folder_ / "scored");
  whole.train_until(4);
  scored.train_until(2);
  const auto loss =
      scored.trainer.validate(scored.batches.validation().at(0), [] { return false; });
  ASSERT_TRUE(loss);
  EXPECT_NEAR(*loss, std::log(320), 0.3);
  EXPECT_EQ(scored.trainer.validate(scored.batches.validation().at(0), [] { return false; }), loss);
  scored.train_until(4);
  EXPECT_EQ(scored.records.back().digest, whole.records.back().digest);
}

// A step on the GPU gives the loss of a step on the CPU, and replayed graphs those of launches.
TEST_P(CudaRuns, GoTheSameWayAsOnTheCpu) {
  recipe_.model.dropout = 0;
  recipe_.train.ramp_batch = recipe_.train.ramp_samples = 0;
  recipe_.data.validation_sequences = 4;
  Session cpu(recipe_, folder_ / "cpu"), gpu(recipe_, folder_ / "gpu", Device::cuda);
  cpu.train_until(6);
  gpu.train_until(6);
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_NEAR(gpu.records[i].loss / cpu.records[i].loss, 1, 1e-5) << i;
    EXPECT_NEAR(gpu.records[i].grad_norm / cpu.records[i].grad_norm, 1, 1e-4) << i;
  }
  const auto loss = [&](Session& session) {
    return *session.trainer.validate(session.batches.validation().at(0), [] { return false; });
  };
  EXPECT_NEAR(loss(gpu) / loss(cpu), 1, 1e-4);
}

TEST_P(AdamWRuns, CheckpointHoldsTheAccount) {
  Session session(recipe_, folder_ / "run");
  session.train_until(4);
  session.run.validation(4, "held_out", 5.5);
  ASSERT_TRUE(session.run.save(session.progress));
  session.train_until(6);
  ASSERT_TRUE(session.run.save(session.progress));
  const CheckpointReader second(session.run.checkpoint_folder(6));
  const OrderLog order = second.order();
  ASSERT_EQ(order.step.size(), 8u);  // two steps of four samples
  for (size_t i = 0; i < 8; ++i) {
    const SampleId id = session.batches.order().sample(16 + int64_t(i));
    EXPECT_EQ(order.step[i], 5 + int64_t(i) / 4);
    EXPECT_EQ(order.corpus[i], id.corpus);
    EXPECT_EQ(order.epoch[i], id.epoch);
    EXPECT_EQ(order.window[i], id.window);
  }
  ASSERT_EQ(second.metrics().size(), 2u);
  EXPECT_EQ(second.metrics()[1].digest, session.records[5].digest);
  EXPECT_EQ(second.tokenizer(), tiny_tokenizer().bytes());
  EXPECT_EQ(
      differences(list_entries(Recipe::parse(second.recipe(), "again")), list_entries(recipe_)),
      std::vector<std::string>{});
  EXPECT_EQ(CheckpointReader(session.run.checkpoint_folder(4)).validation().at(0).loss, 5.5);
}

TEST_P(AdamWRuns, NeverResumeRefusesAFolderWithCheckpoints) {
  {
    Session session(recipe_, folder_ / "run");
    session.train_until(1);
    ASSERT_TRUE(session.run.save(session.progress));
  }
  recipe_.train.resume = Resume::never;
  EXPECT_THROW(Session(recipe_, folder_ / "run"), Error);
}

INSTANTIATE_TEST_SUITE_P(Run, AdamWRuns, testing::Values(Case{}), name_of);
INSTANTIATE_TEST_SUITE_P(Slow, CudaRuns,
                         testing::Values(Case{OptimizerKind::adamw, Device::cuda, 0}), name_of);

}  // namespace
}  // namespace limpid
