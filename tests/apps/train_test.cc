// limpid-train, -generate and -eval as people run them: in processes of their own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>

#include "checkpoint/save.h"
#include "core/device.h"
#include "core/hash.h"
#include "core/random.h"
#include "tests/support/command.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_corpus.h"

namespace limpid {
namespace {

using testing::HasSubstr;

class Programs : public testing::Test {
 protected:
  Programs() {
    write_random_shard(folder_ / "train.h5", 20000, 1);
    write_random_shard(folder_ / "validation.h5", 4000, 2);
    write_atomically(real_disk(), folder_ / "tiny.toml",
                     format(R"(
[model]
layers = 2
width = 32
heads = 4
vocab = 320
context = 32
[data]
train = ["{0}/train.h5"]
validation = ["held_out={0}/validation.h5"]
[train]
steps = 40
batch = 8
micro_batch = 4
[validation]
every = 20
[checkpoint]
every = 7
[log]
every = 20
)",
                            folder_.path().string()));
  }
  std::vector<std::string> arguments(const std::string& run,
                                     std::vector<std::string> more = {}) const {
    std::vector<std::string> out = {(folder_ / "tiny.toml").string(), "--set",
                                    "run=" + (folder_ / run).string()};
    out.insert(out.end(), more.begin(), more.end());
    return out;
  }
  Finished train(const std::string& run, std::vector<std::string> more = {}) const {
    return run_command("limpid-train", arguments(run, more), folder_.path());
  }
  // The bytes of the last checkpoint's tensors.
  std::string last_bits(const std::string& run) const {
    const Path last = checkpoints_folder(folder_ / run) / "step-00000040";
    return sha256_hex(read_text(last / "model.h5")) + sha256_hex(read_text(last / "optimizer.h5"));
  }

  TempFolder folder_;
};

TEST_F(Programs, TrainWriteScore) {
  const Finished trained = train("run");
  ASSERT_EQ(trained.code, 0) << trained.out;
  EXPECT_THAT(trained.out, HasSubstr("step 40/40"));
  EXPECT_THAT(trained.out, HasSubstr("validation at step 40: held_out"));
  EXPECT_THAT(list_folder(folder_ / "run" / "checkpoints"),
              testing::ElementsAre("step-00000007", "step-00000014", "step-00000021",
                                   "step-00000028", "step-00000035", "step-00000040"));
  const std::string run = (folder_ / "run").string();
  const Finished written = run_command(
      "limpid-generate", {run, "--prompt", "abc", "--max-tokens", "20"}, folder_.path());
  EXPECT_EQ(written.code, 0);
  EXPECT_THAT(written.out, testing::StartsWith("abc"));
  EXPECT_EQ(
      run_command("limpid-generate", {run, "--prompt", "abc", "--max-tokens", "20"}, folder_.path())
          .out,
      written.out);
  write_atomically(real_disk(), folder_ / "text.txt", std::string(300, 'a') + " bcd");
  const Finished scored =
      run_command("limpid-eval",
                  {run, (folder_ / "text.txt").string(), (folder_ / "validation.h5").string(),
                   "--json", (folder_ / "scores.json").string()},
                  folder_.path());
  EXPECT_EQ(scored.code, 0) << scored.out;
  EXPECT_THAT(read_text(folder_ / "scores.json"), HasSubstr("bits_per_byte"));
  EXPECT_EQ(run_command("limpid-checkpoint", {"verify", run}, folder_.path()).code, 0);
}

TEST_F(Programs, KilledAtRandomMomentsEndsWithTheSameBits) {
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(train("whole").code, 0);
  const std::chrono::duration<double, std::micro> whole = std::chrono::steady_clock::now() - begin;
  int kills = 0;
  Finished last;
  for (uint64_t attempt = 0; attempt < 60; ++attempt) {
    Command command("limpid-train", arguments("killed"), folder_.path());
    usleep(useconds_t(whole.count() * (0.2 + 0.6 * Random(1, "kill").uniform(attempt))));
    command.signal(SIGKILL);
    last = command.wait();
    kills += last.code == 128 + SIGKILL;
    if (last.code == 0) break;
  }
  if (last.code != 0) last = train("killed");
  ASSERT_EQ(last.code, 0) << last.out;
  EXPECT_GE(kills, 2);
  EXPECT_EQ(last_bits("killed"), last_bits("whole"));
}

TEST_F(Programs, TerminatedSavesAndGoesOnFromThere) {
  ASSERT_EQ(train("whole").code, 0);
  {
    Command command("limpid-train", arguments("stopped", {"--set", "checkpoint.every=0"}),
                    folder_.path());
    const Path journal = folder_ / "stopped" / "journal.jsonl";
    for (int i = 0; i < 500 && !(file_exists(journal) &&
                                 read_text(journal).find("\"step\":3") != std::string::npos);
         ++i)
      usleep(10000);
    command.signal(SIGTERM);
    const Finished finished = command.wait();
    EXPECT_EQ(finished.code, 0) << finished.out;
    EXPECT_THAT(finished.out, HasSubstr("stopped after step"));
  }
  ASSERT_EQ(list_folder(folder_ / "stopped" / "checkpoints").size(), 1u);
  const Finished finished = train("stopped");
  EXPECT_THAT(finished.out, HasSubstr("resume     after step"));
  EXPECT_EQ(last_bits("stopped"), last_bits("whole"));
}

TEST_F(Programs, RefusesToGoOnWithAnotherRecipe) {
  ASSERT_EQ(train("run", {"--set", "train.steps=3"}).code, 0);
  const Finished finished = train("run", {"--set", "optimizer.lr=0.5"});
  EXPECT_EQ(finished.code, 1);
  EXPECT_THAT(finished.out, HasSubstr("optimizer.lr: 0.5 here, 0.001 there"));
  EXPECT_EQ(train("run", {"--set", "train.steps=5", "--set", "log.every=1"}).code, 0);
}

TEST_F(Programs, SayWhatIsWrong) {
  EXPECT_EQ(train("run", {"--nonsense"}).code, 2);
  const Finished typo = train("run", {"--set", "model.layer=3"});
  EXPECT_EQ(typo.code, 1);
  EXPECT_THAT(typo.out, HasSubstr("did you mean model.layers?"));
  EXPECT_FALSE(file_exists(folder_ / "run"));
  const Finished small = train("run", {"--set", "model.vocab=100"});
  EXPECT_EQ(small.code, 1);
  EXPECT_THAT(small.out, HasSubstr("vocab"));
  const Finished missing = train("run", {"--set", "data.train=[\"nowhere.h5\"]"});
  EXPECT_EQ(missing.code, 1);
  EXPECT_THAT(missing.out, HasSubstr("nowhere.h5"));
  const Finished no_gpu = train("run", {"--set", "device=cuda"});
  EXPECT_EQ(no_gpu.code, 1);
  EXPECT_THAT(no_gpu.out, HasSubstr("device = \"cpu\""));
  setenv("RANK", "0", 1);
  setenv("WORLD_SIZE", "2", 1);
  const Finished two = train("run");
  unsetenv("RANK");
  unsetenv("WORLD_SIZE");
  EXPECT_EQ(two.code, 1);
  EXPECT_THAT(two.out, HasSubstr("one of 2 processes"));
  EXPECT_EQ(run_command("limpid-generate", {(folder_ / "nowhere").string()}, folder_.path()).code,
            1);
}

TEST_F(Programs, ShowWithoutWork) {
  const Finished dry = train("run", {"--dry-run"});
  EXPECT_EQ(dry.code, 0) << dry.out;
  EXPECT_THAT(dry.out, HasSubstr("parameters"));
  EXPECT_THAT(dry.out, HasSubstr("time       about"));
  const Finished recipe = train("run", {"--print-recipe"});
  EXPECT_THAT(recipe.out, HasSubstr("steps = 40  # " + (folder_ / "tiny.toml").string() + ":12"));
  EXPECT_FALSE(file_exists(folder_ / "run"));
  EXPECT_THAT(run_command("limpid-train", {"--help"}, folder_.path()).out,
              HasSubstr("kv_heads = 0"));
}

}  // namespace
}  // namespace limpid
