// limpid-audit and what limpid-checkpoint tells of a run, on a run that limpid-train made.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/load.h"
#include "checkpoint/save.h"
#include "core/memory.h"
#include "tests/support/command.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_corpus.h"

namespace limpid {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class AuditedRun : public testing::Test {
 protected:
  AuditedRun() {
    write_random_shard(folder_ / "train.h5", 9000, 1);
    write_atomically(real_disk(), folder_ / "tiny.toml",
                     format(R"(
run = "{0}/run"
[model]
layers = 1
width = 32
heads = 2
vocab = 320
context = 32
dropout = 0.1
[data]
train = ["{0}/train.h5"]
[train]
steps = 15
batch = 4
micro_batch = 2
[validation]
every = 0
[checkpoint]
every = 5
at = [0]
)",
                            folder_.path().string()));
    const Finished trained = call("limpid-train", {(folder_ / "tiny.toml").string()});
    EXPECT_EQ(trained.code, 0) << trained.out;
  }
  Finished call(const std::string& program, std::vector<std::string> arguments) const {
    return run_command(program, arguments, folder_.path());
  }
  Finished audit(std::vector<std::string> more = {}) const {
    more.insert(more.begin(), run().string());
    return call("limpid-audit", more);
  }
  Path run() const { return folder_ / "run"; }
  Path checkpoint(int64_t step) const { return checkpoints_folder(run()) / step_name(step); }

  TempFolder folder_;
};

TEST_F(AuditedRun, IsConfirmedToTheBit) {
  const Finished all = audit();
  EXPECT_EQ(all.code, 0) << all.out;
  EXPECT_THAT(all.out, AllOf(HasSubstr("5 of 5 steps the same, confirmed"),
                             HasSubstr("all 3 intervals confirmed")));
  const Finished part = audit({"--from", "5", "--to", "10"});
  EXPECT_EQ(part.code, 0) << part.out;
  EXPECT_THAT(part.out, AllOf(HasSubstr("6 to       10"), Not(HasSubstr("11 to"))));
  const Finished sample = audit({"--sample", "1"});
  EXPECT_EQ(sample.code, 0) << sample.out;
  EXPECT_THAT(sample.out, HasSubstr("1 of 3 intervals confirmed; one forged interval would have "
                                    "been found with probability 0.33"));
  EXPECT_EQ(audit({"--from", "11", "--to", "12"}).code, 1);
}

// Somebody who forges an account makes its hashes anew: then the steps themselves tell.
TEST_F(AuditedRun, FindsAForgedCheckpoint) {
  const CheckpointReader true_one(checkpoint(10)), before(checkpoint(5));
  State state{.step = 10, .model = {}, .optimizer = {}, .counters = true_one.counters()};
  std::vector<Buffer> memory;
  const auto read = [&](const char* file, std::vector<NamedTensor>& into) {
    for (const ManifestTensor& tensor : true_one.manifest().file(file).tensors) {
      memory.emplace_back(Device::cpu, tensor.bytes(), tensor.name);
      into.push_back({tensor.name, memory.back().tensor(0, tensor.shape, tensor.dtype)});
    }
    true_one.read(file, into);
  };
  read(kModel, state.model);
  read(kOptimizer, state.optimizer);
  *static_cast<uint8_t*>(state.model[3].tensor.data) ^= 1;
  Account account{.recipe = true_one.recipe(),
                  .config_json = true_one.config_json(),
                  .tokenizer = true_one.tokenizer(),
                  .data_json = true_one.data_json(),
                  .environment_json = true_one.environment_json(),
                  .order = true_one.order(),
                  .metrics = true_one.metrics(),
                  .validation = {},
                  .events = {}};
  account.metrics[1].loss += 1e-9;
  std::filesystem::remove_all(checkpoint(10));
  {
    Checkpoints forged({}, run());
    State parent{.step = 5, .model = {}, .optimizer = {}, .counters = {}};
    std::vector<Buffer> more;
    for (auto& [file, into] : {std::pair{kModel, &parent.model}, {kOptimizer, &parent.optimizer}})
      for (const ManifestTensor& tensor : before.manifest().file(file).tensors) {
        more.emplace_back(Device::cpu, tensor.bytes(), tensor.name);
        into->push_back({tensor.name, more.back().tensor(0, tensor.shape, tensor.dtype)});
      }
    forged.load(5, parent);
    forged.save(state, account);
  }
  const Finished found = audit({"--from", "5", "--to", "10"});
  EXPECT_EQ(found.code, 1);
  EXPECT_THAT(found.out, AllOf(HasSubstr("4 of 5 steps the same, DIFFERENT"),
                               HasSubstr("step 7: loss "), HasSubstr("recorded as "),
                               HasSubstr("tensor " + state.model[3].name + " has other bits")));
}

TEST_F(AuditedRun, NeedsTheDataThatTheRunUsed) {
  write_random_shard(folder_ / "train.h5", 9000, 2);
  const Finished found = audit();
  EXPECT_EQ(found.code, 1);
  EXPECT_THAT(found.out, HasSubstr("the run used"));
}

TEST_F(AuditedRun, IsComparedShownAndRebuilt) {
  const Finished diff =
      call("limpid-checkpoint", {"diff", checkpoint(5).string(), checkpoint(10).string()});
  EXPECT_EQ(diff.code, 0) << diff.out;
  EXPECT_THAT(diff.out,
              AllOf(HasSubstr("layers.0.attention.q.weight"), HasSubstr("elements differ"),
                    HasSubstr("0 tensors are the same to the bit")));
  EXPECT_THAT(
      call("limpid-checkpoint", {"diff", checkpoint(5).string(), checkpoint(5).string()}).out,
      HasSubstr(", 0 are not"));

  const Finished order = call("limpid-checkpoint", {"order", run().string(), "7"});
  EXPECT_EQ(order.code, 0) << order.out;
  EXPECT_THAT(order.out, AllOf(HasSubstr("sample 3 of step 7"), HasSubstr("documents"),
                               Not(HasSubstr("sample 4 of"))));
  EXPECT_EQ(call("limpid-checkpoint", {"order", run().string(), "16"}).code, 1);

  const std::string rebuilt = (folder_ / "rebuilt").string();
  const Finished seven = call("limpid-checkpoint", {"rebuild", run().string(), "7", rebuilt});
  EXPECT_EQ(seven.code, 0) << seven.out;
  const CheckpointReader reader(checkpoints_folder(rebuilt) / step_name(7));
  EXPECT_EQ(reader.metrics().back().step, 7);
  EXPECT_EQ(reader.metrics().back().digest, CheckpointReader(checkpoint(10)).metrics()[1].digest);
  EXPECT_EQ(find_damage(reader.folder()), std::vector<std::string>{});
}

}  // namespace
}  // namespace limpid
