// limpid-launch as people run it. The programs that it starts are tests of this very binary: those
// whose names begin with DISABLED_ are ranks, not tests.
#include "parallel/launch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <thread>

#include "core/error.h"
#include "core/random.h"
#include "parallel/world.h"
#include "tests/support/command.h"
#include "tests/support/temp_folder.h"

namespace limpid {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kFolder = "LIMPID_TEST_FOLDER";

std::vector<std::string> rank_command(int n, const std::string& body) {
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  return {"-n",
          std::to_string(n),
          "--grace",
          "20",
          "--",
          self,
          "--gtest_also_run_disabled_tests",
          "--gtest_filter=Rank.DISABLED_" + body};
}

std::vector<std::string> shell_command(int n, const std::string& script) {
  return {"-n", std::to_string(n), "sh", "-c", script};
}

// Where the ranks of a test leave what it looks at.
class LaunchTest : public ::testing::Test {
 protected:
  LaunchTest() { setenv(kFolder, folder_.path().c_str(), 1); }
  ~LaunchTest() override { unsetenv(kFolder); }

  Finished run(const std::vector<std::string>& arguments) {
    return run_command("limpid-launch", arguments, folder_.path());
  }
  const Path& folder() const { return folder_.path(); }
  // Waits until n files whose names begin so are there.
  void await_files(const std::string& prefix, size_t n) const {
    for (size_t found = 0; found < n;) {
      std::this_thread::sleep_for(milliseconds(5));
      found = 0;
      for (const std::string& name : list_folder(folder()))
        found += name.starts_with(prefix) && !name.ends_with(".tmp") ? 1 : 0;
    }
  }

 private:
  TempFolder folder_;
};

void leave(const std::string& name, std::string_view bytes) {
  const Path folder = std::getenv(kFolder);
  const auto file = real_disk().create(folder / (name + ".tmp"));
  file->write_at(0, bytes.data(), int64_t(bytes.size()));
  real_disk().rename(folder / (name + ".tmp"), folder / name);
}

// Whether a process runs; one that has ended may stay in the table until somebody takes note.
bool lives(const std::string& process) {
  std::ifstream status("/proc/" + process + "/stat");
  std::string number, name, state;
  status >> number >> name >> state;
  return !state.empty() && state != "Z" && state != "X";
}

// What every rank computes in the test of bits: sums that depend on the order.
std::string sums(Group& group) {
  Stream stream;
  std::vector<float> x(5001), y(5001);
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = 1.0f / float(1 + i * size_t(group.rank() + 3));
    y[i] = x[i] * x[i];
  }
  const Tensor tensor = {x.data(), {int64_t(x.size())}, DType::f32};
  group.all_reduce(stream, tensor, "x");
  std::vector<bf16> z;
  for (float value : y) z.push_back(bf16(value));
  group.all_reduce(stream, {z.data(), {int64_t(z.size())}, DType::bf16}, "z");
  std::string out(reinterpret_cast<const char*>(x.data()), sizeof(float) * x.size());
  return out.append(reinterpret_cast<const char*>(z.data()), sizeof(bf16) * z.size());
}

TEST(Rank, DISABLED_LeavesItsSums) {
  World world = World::join();
  leave("sums" + std::to_string(world.rank()), sums(world.group()));
}

TEST(Rank, DISABLED_SumsForEver) {
  signal(SIGTERM, SIG_IGN);  // so that nothing but the news ends it
  World world = World::join();
  try {
    world.run([&] {
      Stream stream;
      std::vector<float> x(20'000);
      world.group().barrier(stream, "start");
      leave("pid" + std::to_string(world.rank()), std::to_string(getpid()));
      for (;;) world.group().all_reduce(stream, {x.data(), {20'000}, DType::f32}, "gradients");
    });
  } catch (const Error& error) {
    leave("error" + std::to_string(world.rank()), error.what());
    throw;
  }
}

TEST(Rank, DISABLED_TwoThrows) {
  World world = World::join();
  try {
    world.run([&] {
      Stream stream;
      world.group().barrier(stream, "start");
      require(world.rank() != 2, "rank 2 cannot read its shard");
      world.group().barrier(stream, "the next step");
    });
  } catch (const Error& error) {
    leave("error" + std::to_string(world.rank()), error.what());
    throw;
  }
}

TEST_F(LaunchTest, ProcessesGetTheBitsOfThreads) {
  for (int n : {1, 2, 3, 4}) {
    const Finished finished = run(rank_command(n, "LeavesItsSums"));
    ASSERT_EQ(finished.code, 0) << finished.out;
    spawn(n, [&](World& world) {
      const Path path = folder() / ("sums" + std::to_string(world.rank()));
      EXPECT_EQ(read_text(path), sums(world.group()));
      real_disk().remove_all(path);
    });
  }
}

TEST_F(LaunchTest, ARankThatThrowsIsNamedByAllOthers) {
  const Finished finished = run(rank_command(4, "TwoThrows"));
  EXPECT_EQ(finished.code, 1);
  EXPECT_THAT(finished.out, HasSubstr("limpid-launch: rank"));
  EXPECT_EQ(read_text(folder() / "error2"), "rank 2 cannot read its shard");
  for (int rank : {0, 1, 3}) {
    const Path path = folder() / ("error" + std::to_string(rank));
    // The launcher may be faster than the news.
    if (!file_exists(path)) continue;
    EXPECT_THAT(read_text(path), HasSubstr("rank 2 failed: rank 2 cannot read its shard"));
  }
}

// Kills one of n ranks in the middle of its sums; all others end by themselves and know who it was.
void check_killed_rank(const Path& folder, int n, int victim, milliseconds delay,
                       const std::function<void()>& await_start) {
  Command command("limpid-launch", rank_command(n, "SumsForEver"), folder);
  await_start();
  std::this_thread::sleep_for(delay);
  kill(std::stoi(read_text(folder / ("pid" + std::to_string(victim)))), SIGKILL);
  const Finished finished = command.wait();
  EXPECT_EQ(finished.code, 128 + SIGKILL) << finished.out;
  EXPECT_THAT(finished.out, HasSubstr(format("limpid-launch: rank {} of {} was ended by signal 9 "
                                             "(Killed); ending the others",
                                             victim, n)));
  for (int rank = 0; rank < n; ++rank) {
    const Path pid = folder / format("pid{}", rank), error = folder / format("error{}", rank);
    EXPECT_FALSE(lives(read_text(pid)));
    real_disk().remove_all(pid);
    if (rank == victim) continue;
    ASSERT_TRUE(file_exists(error)) << finished.out;
    EXPECT_THAT(read_text(error), AllOf(HasSubstr("all_reduce of gradients"),
                                        HasSubstr(format("rank {} closed", victim))));
    real_disk().remove_all(error);
  }
}

TEST_F(LaunchTest, AKilledRankEndsTheOthers) {
  for (int victim : {0, 2})
    check_killed_rank(folder(), 3, victim, milliseconds(5), [this] { await_files("pid", 3); });
}

TEST_F(LaunchTest, SlowAHundredKilledRanks) {
  for (int i = 0; i < 100; ++i) {
    const int n = 2 + i % 3;
    const uint64_t random = mix64(uint64_t(i));
    check_killed_rank(folder(), n, int(random % uint64_t(n)), milliseconds(random >> 8 & 15),
                      [&] { await_files("pid", size_t(n)); });
  }
}

TEST_F(LaunchTest, AKilledLauncherLeavesNobody) {
  Command command("limpid-launch", rank_command(2, "SumsForEver"), folder());
  await_files("pid", 2);
  command.signal(SIGKILL);
  command.wait();
  for (int rank : {0, 1}) {
    const std::string process = read_text(folder() / ("pid" + std::to_string(rank)));
    while (lives(process)) std::this_thread::sleep_for(milliseconds(5));
  }
}

TEST_F(LaunchTest, ReturnsTheStatusOfTheFirstThatFailed) {
  const Finished finished =
      run(shell_command(3, "test $LIMPID_RANK = 1 && exit 7; trap 'exit 9' TERM; sleep 60 & wait"));
  EXPECT_EQ(finished.code, 7);
  EXPECT_THAT(finished.out, HasSubstr("rank 1 of 3 ended with exit status 7; ending the others"));
}

TEST_F(LaunchTest, EndsThoseWhoDoNotListenAfterTheGrace) {
  auto arguments =
      shell_command(2, "test $LIMPID_RANK = 1 && exit 3; trap '' TERM; while :; do :; done");
  arguments.insert(arguments.begin(), {"--grace", "0.2"});
  EXPECT_EQ(run(arguments).code, 3);
}

TEST_F(LaunchTest, PutsTheRankBeforeLines) {
  const Finished finished = run(shell_command(3, "echo rank $LIMPID_RANK; printf 'no newline'"));
  EXPECT_EQ(finished.code, 0);
  EXPECT_THAT(finished.out,
              AllOf(HasSubstr("[rank 1] rank 1\n"), HasSubstr("[rank 2] no newline\n"),
                    HasSubstr("rank 0\n"), Not(HasSubstr("[rank 0]"))));
}

TEST_F(LaunchTest, GivesEachRankItsVariables) {
  const Finished finished = run(shell_command(
      2,
      "echo $LIMPID_RANK $LIMPID_SIZE $LIMPID_LOCAL_RANK $LIMPID_NODE ${OMP_NUM_THREADS:-none}; "
      "test -d ${LIMPID_STORE#file:}"));
  EXPECT_EQ(finished.code, 0) << finished.out;
  EXPECT_THAT(finished.out,
              AllOf(HasSubstr("0 2 0 0 "), HasSubstr("[rank 1] 1 2 1 0 "), Not(HasSubstr("none"))));
}

TEST_F(LaunchTest, PassesSignalsOn) {
  Command command("limpid-launch",
                  shell_command(2,
                                "trap 'echo was asked to end; exit 0' TERM; "
                                "touch $LIMPID_TEST_FOLDER/ready$LIMPID_RANK; "
                                "while :; do sleep 0.05; done"),
                  folder());
  await_files("ready", 2);
  command.signal(SIGTERM);
  const Finished finished = command.wait();
  EXPECT_EQ(finished.code, 0) << finished.out;
  EXPECT_THAT(finished.out,
              AllOf(HasSubstr("[rank 1] was asked to end\n"), HasSubstr("was asked to end\n")));
}

TEST_F(LaunchTest, SaysThatThereIsNoSuchProgram) {
  const Finished finished = run({"-n", "2", "limpid-no-such-program"});
  EXPECT_EQ(finished.code, 127);
  EXPECT_THAT(finished.out, HasSubstr("cannot start limpid-no-such-program: No such file"));
}

TEST_F(LaunchTest, RefusesACommandLineThatMakesNoSense) {
  EXPECT_EQ(run({"-n", "0", "true"}).code, 2);
  EXPECT_EQ(run({"true"}).code, 2);
  EXPECT_EQ(run({"-n", "2"}).code, 1);
}

}  // namespace
}  // namespace limpid
