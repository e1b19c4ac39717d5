#include "parallel/world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "core/error.h"
#include "tests/support/temp_folder.h"

namespace limpid {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(World, JoinsAloneWhereNothingIsSet) {
  const World world = World::join();
  EXPECT_EQ(world.rank(), 0);
  EXPECT_EQ(world.size(), 1);
}

TEST(Spawn, RunsEachRankOnce) {
  std::vector<int> seen(4);
  spawn(4, [&](World& world) {
    EXPECT_EQ(world.size(), 4);
    EXPECT_EQ(world.local_rank(), world.rank());
    EXPECT_EQ(world.group().rank(), world.rank());
    ++seen[size_t(world.rank())];
  });
  EXPECT_EQ(seen, std::vector<int>(4, 1));
}

TEST(Spawn, ThrowsTheCauseAndNotItsConsequences) {
  const auto run = [](Talk talk) {
    spawn(
        4,
        [](World& world) {
          Stream stream;
          require(world.rank() != 3, "rank 3 found no data");
          world.group().barrier(stream, "start");
        },
        std::chrono::hours(1), talk);
  };
  for (Talk talk : {Talk::memory, Talk::gloo})
    EXPECT_THAT([&] { run(talk); },
                ::testing::ThrowsMessage<Error>(::testing::StrEq("rank 3 found no data")));
}

TEST(Spawn, RefusesNoRanks) {
  EXPECT_THROW(spawn(0, [](World&) {}), Error);
}

// Every rank of `size` in `present` comes to the store; what each got.
std::vector<std::string> meet(int size, const std::vector<int>& present, Store& store) {
  std::vector<std::string> errors(present.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < present.size(); ++i)
    threads.emplace_back([&, i] {
      try {
        gloo_transport(present[i], size, store, "127.0.0.1", milliseconds(400));
      } catch (const Error& error) {
        errors[i] = error.what();
      }
    });
  for (std::thread& thread : threads) thread.join();
  return errors;
}

TEST(Rendezvous, NamesAllWhoDidNotCome) {
  const auto store = memory_store();
  for (const std::string& error : meet(5, {0, 2, 4}, *store))
    EXPECT_THAT(error, HasSubstr("of 5 ranks these did not come within 0.4 s: 1, 3"));
}

TEST(Rendezvous, RefusesTwoOfOneRank) {
  const auto store = memory_store();
  const std::vector<std::string> errors = meet(2, {1, 1}, *store);
  EXPECT_THAT(errors[0] + errors[1], HasSubstr("two processes are rank 1 of this job"));
}

TEST(Rendezvous, IgnoresWhatAnEarlierStartLeft) {
  TempFolder folder;
  const auto before = file_store(folder.path(), "slurm-1-0-0");
  for (int rank = 0; rank < 2; ++rank) before->set("gloo/" + std::to_string(rank), "gone");
  before->set("failure", "of yesterday");
  const auto after = file_store(folder.path(), "slurm-1-0-1");
  for (const std::string& error : meet(2, {0, 1}, *after)) EXPECT_EQ(error, "");
}

TEST(Rendezvous, RefusesAddressesThatAreNone) {
  for (const std::string& bad : {std::string("x"), std::string(), std::string(1 << 20, '\0')}) {
    const auto store = memory_store();
    store->set("gloo/1", bad);
    EXPECT_NE(meet(3, {0}, *store)[0], "");
  }
}

}  // namespace
}  // namespace limpid
