#include "checkpoint/save.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "checkpoint/load.h"
#include "core/hash.h"
#include "core/hdf5.h"
#include "tests/support/fault_disk.h"
#include "tests/support/sample_state.h"
#include "tests/support/temp_folder.h"

namespace limpid {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

std::string hash_of(const Path& file) { return sha256_hex(read_text(file)); }

std::vector<std::string> unfinished(const Path& run) {
  std::vector<std::string> names = list_folder(checkpoints_folder(run));
  std::erase_if(names, [](const std::string& name) { return !name.starts_with(".tmp-"); });
  return names;
}

TEST(Checkpoints, LoadsEveryBitThatWasSaved) {
  const TempFolder run;
  SampleState state(1, 20);
  Checkpoints({}, run.path()).save(state.get(), sample_account(20));

  SampleState back(2);
  Checkpoints again({}, run.path());
  EXPECT_EQ(again.newest_verified(), 20);
  for (const bool newest : {false, true}) {
    back.clear();
    if (newest) {
      EXPECT_EQ(again.load_newest(back.get()), 20);
    } else {
      again.load(20, back.get());
    }
    EXPECT_EQ(back.bytes(), state.bytes());
    EXPECT_EQ(back.get().step, 20);
    EXPECT_EQ(back.get().counters, state.get().counters);
  }
}

TEST(Checkpoints, TheSameStateGivesTheSameBytesInAnyOrderAndRun) {
  const TempFolder a, b;
  SampleState state(1, 20);
  Checkpoints first({}, a.path()), second({}, b.path());
  first.save(state.get(), sample_account(20));
  std::reverse(state.get().model.begin(), state.get().model.end());
  std::swap(state.get().optimizer[0], state.get().optimizer[7]);
  second.save(state.get(), sample_account(20));
  for (const char* file : {kModel, kOptimizer, kAccount})
    EXPECT_EQ(hash_of(first.folder(20) / file), hash_of(second.folder(20) / file)) << file;
  EXPECT_NE(hash_of(first.folder(20) / kManifestName), hash_of(second.folder(20) / kManifestName));

  static_cast<char*>(state.get().model[0].tensor.data)[0] ^= 1;
  state.get().step = 21;
  second.save(state.get(), sample_account(20));
  EXPECT_NE(hash_of(first.folder(20) / kModel), hash_of(second.folder(21) / kModel));
}

// What the HDF5 library reads is what memory holds, from places at the start of a page.
TEST(Checkpoints, AnyHdf5ReaderFindsEveryTensorWholeByItsName) {
  const TempFolder run;
  SampleState state(1, 20);
  Checkpoints checkpoints({}, run.path());
  checkpoints.save(state.get(), {});
  for (const auto& [file, tensors] :
       {std::pair(kModel, &state.get().model), std::pair(kOptimizer, &state.get().optimizer)}) {
    const hdf5::Reader reader(checkpoints.folder(20) / file);
    EXPECT_EQ(reader.datasets().size(), tensors->size());
    for (const auto& [name, tensor] : *tensors) {
      std::string bytes(size_t(tensor.bytes()), '?');
      reader.read("/" + name, {bytes.data(), tensor.shape, tensor.dtype});
      EXPECT_EQ(bytes, std::string(static_cast<const char*>(tensor.data), bytes.size())) << name;
      EXPECT_EQ(reader.extent("/" + name).offset % hdf5::kPage, 0) << name;
      const bool bf16 = tensor.dtype == DType::bf16;
      EXPECT_EQ(reader.text_attribute("/" + name, "dtype").value_or(""), bf16 ? "bfloat16" : "");
    }
  }
  const Manifest manifest = read_manifest(checkpoints.folder(20));
  const auto& stored = manifest.file(kOptimizer).tensors;
  EXPECT_EQ(stored.size(), state.get().optimizer.size());
  EXPECT_TRUE(std::ranges::is_sorted(stored, {}, &ManifestTensor::offset));
}

TEST(Checkpoints, EachManifestNamesTheOneBefore) {
  const TempFolder run;
  SampleState state(1, 10);
  {
    Checkpoints checkpoints({}, run.path());
    checkpoints.save(state.get(), {});
    state.get().step = 20;
    checkpoints.save(state.get(), {});
  }
  Checkpoints resumed({}, run.path());
  resumed.load(10, state.get());
  state.get().step = 30;
  resumed.save(state.get(), {});

  const Manifest first = read_manifest(resumed.folder(10));
  EXPECT_FALSE(first.parent.has_value());
  for (const int64_t step : {20, 30}) {
    const Manifest child = read_manifest(resumed.folder(step));
    ASSERT_TRUE(child.parent.has_value());
    EXPECT_EQ(child.parent->step, 10);
    EXPECT_EQ(child.parent->hash, first.hash);
    EXPECT_EQ(child.run, resumed.run_id());
  }
}

TEST(Checkpoints, AStepReachedAgainKeepsTheOlderFolderUnderAnotherName) {
  const TempFolder run;
  SampleState state(1, 20), other(2, 20), back(3);
  Checkpoints checkpoints({}, run.path());
  checkpoints.save(state.get(), {});
  const std::string before = hash_of(checkpoints.folder(20) / kModel);
  checkpoints.save(other.get(), {});
  EXPECT_THAT(checkpoints.steps(), ElementsAre(20));
  checkpoints.load(20, back.get());
  EXPECT_EQ(back.bytes(), other.bytes());
  const std::vector<std::string> names = list_folder(checkpoints_folder(run.path()));
  ASSERT_EQ(names.size(), 2u);
  EXPECT_THAT(names[1], testing::StartsWith("step-00000020.replaced-"));
  EXPECT_EQ(hash_of(checkpoints_folder(run.path()) / names[1] / kModel), before);
}

TEST(Checkpoints, DueEveryNStepsAndAtTheListedOnes) {
  const CheckpointConfig config{.every = 100, .at = {0, 1, 512}};
  for (const int64_t step : {0, 1, 100, 200, 512}) EXPECT_TRUE(config.due(step)) << step;
  for (const int64_t step : {2, 99, 101, 511}) EXPECT_FALSE(config.due(step)) << step;
  EXPECT_FALSE((CheckpointConfig{.every = 0, .at = {}}).due(0));
}

TEST(Checkpoints, RefusesTensorsThatDifferWithEveryDifference) {
  const TempFolder run;
  SampleState state(1, 20);
  Checkpoints checkpoints({}, run.path());
  checkpoints.save(state.get(), {});

  SampleState other(2);
  const std::string before = other.bytes();
  auto& model = other.get().model;
  model[0].tensor.shape = {24, 50};
  model[1].tensor.dtype = DType::u16;
  model[2].name = "layers.0.attention.k.weight";
  other.get().optimizer.pop_back();
  EXPECT_THAT(
      [&] { checkpoints.load(20, other.get()); },
      ThrowsMessage<Error>(testing::AllOf(
          HasSubstr("model.h5: tensor embedding.weight is bf16 (50, 24), need bf16 (24, 50)"),
          HasSubstr("model.h5: tensor layers.0.norm.weight is bf16 (24), need u16 (24)"),
          HasSubstr("model.h5: has no tensor layers.0.attention.k.weight"),
          HasSubstr("model.h5: tensor layers.0.attention.q.weight bf16 (24, 24) is not wanted"),
          HasSubstr("optimizer.h5: tensor v/scale f32 (1) is not wanted"))));
  model[0].tensor.shape = {50, 24};
  other.get().optimizer.push_back({"v/scale", model[4].tensor});
  EXPECT_EQ(other.bytes().substr(0, 50 * 24 * 2), before.substr(0, 50 * 24 * 2));
  EXPECT_EQ(other.get().step, 0);
}

TEST(Checkpoints, RefusesTwoTensorsOfOneName) {
  const TempFolder run;
  SampleState state(1, 20);
  state.get().model[1].name = state.get().model[0].name;
  Checkpoints checkpoints({}, run.path());
  EXPECT_THAT([&] { checkpoints.save(state.get(), {}); },
              ThrowsMessage<Error>(HasSubstr("two tensors are named embedding.weight")));
  EXPECT_THAT(checkpoints.steps(), ElementsAre());
  EXPECT_THAT(unfinished(run.path()), ElementsAre());
}

TEST(Checkpoints, ASecondProcessOnTheSameRunIsRefusedWithTheHoldersName) {
  const TempFolder run;
  {
    Checkpoints first({}, run.path());
    EXPECT_THAT([&] { Checkpoints({}, run.path()); },
                ThrowsMessage<Error>(HasSubstr(format("held by process {} on ", getpid()))));
  }
  EXPECT_NO_THROW(Checkpoints({}, run.path()));
}

TEST(Checkpoints, TheRunKeepsItsIdAndMissesIt) {
  const TempFolder run;
  SampleState state(1, 20);
  std::string id;
  {
    Checkpoints checkpoints({}, run.path());
    id = checkpoints.run_id();
    checkpoints.save(state.get(), {});
  }
  EXPECT_EQ(id.size(), 32u);
  EXPECT_EQ(Checkpoints({}, run.path()).run_id(), id);
  std::filesystem::remove(run / "id");
  EXPECT_THAT([&] { Checkpoints({}, run.path()); },
              ThrowsMessage<Error>(HasSubstr("id is missing, though there are checkpoints")));
}

// Each change that a save makes to the disk fails in turn, alone or as the last.
class KillPoints : public testing::TestWithParam<FaultDisk::Kind> {};

TEST_P(KillPoints, LeaveTheOlderCheckpointOrTheWholeNewOne) {
  const TempFolder run;
  SampleState old(1, 10), fresh(2, 20), back(3);
  FaultDisk disk;
  {
    Checkpoints checkpoints({}, run.path(), disk);
    checkpoints.save(old.get(), sample_account(10));
    disk.arm(GetParam(), FaultDisk::kNever);
    checkpoints.save(fresh.get(), sample_account(20));
    real_disk().remove_all(checkpoints.folder(20));
  }
  const int64_t count = disk.changes();
  ASSERT_GT(count, 40);
  int64_t committed = 0;
  for (int64_t at = 0; at < count; ++at) {
    disk.arm(GetParam(), FaultDisk::kNever);
    {
      Checkpoints checkpoints({}, run.path(), disk);
      disk.arm(GetParam(), at);
      EXPECT_THROW(checkpoints.save(fresh.get(), sample_account(20)), Error) << at;
      const bool cleans_up = GetParam() == FaultDisk::Kind::error;
      EXPECT_TRUE(!cleans_up || unfinished(run.path()).empty()) << at;
    }
    Checkpoints next({}, run.path());
    EXPECT_THAT(unfinished(run.path()), ElementsAre()) << at;
    const bool renamed = file_exists(next.folder(20));
    committed += renamed;
    ASSERT_EQ(next.load_newest(back.get()), renamed ? 20 : 10) << at;
    EXPECT_EQ(back.bytes(), renamed ? fresh.bytes() : old.bytes()) << at;
    EXPECT_THAT(find_damage(next.folder(10)), ElementsAre()) << at;
    real_disk().remove_all(next.folder(20));
  }
  EXPECT_EQ(committed, 1);  // where only the sync of the parent folder failed
}

INSTANTIATE_TEST_SUITE_P(, KillPoints,
                         testing::Values(FaultDisk::Kind::error, FaultDisk::Kind::kill),
                         [](const auto& kind) {
                           return kind.param == FaultDisk::Kind::error ? "Error" : "Kill";
                         });

TEST(Checkpoints, AProcessKilledAtAnyMomentLeavesAWholeCheckpoint) {
  const TempFolder run;
  SampleState back(3);
  std::vector<std::string> saved(1);
  for (int64_t step = 1; step <= 64; ++step) saved.push_back(SampleState(uint64_t(step)).bytes());
  Checkpoints({}, run.path()).save(SampleState(1, 1).get(), {});
  for (int attempt = 0; attempt < 12; ++attempt) {
    const pid_t child = fork();
    if (child == 0) {
      Checkpoints checkpoints({}, run.path());
      for (int64_t step = 2; step <= 64; ++step)
        checkpoints.save(SampleState(uint64_t(step), step).get(), sample_account(step));
      _exit(0);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20 + 17 * attempt));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    Checkpoints next({}, run.path());
    const auto step = next.load_newest(back.get());
    ASSERT_TRUE(step.has_value());
    EXPECT_EQ(*step, next.steps().back());
    EXPECT_EQ(back.bytes(), saved[size_t(*step)]);
  }
}

// A file system of its own, so small that a checkpoint does not fit.
class SmallDisk {
 public:
  SmallDisk() : mounted_(::mount("none", folder_.path().c_str(), "tmpfs", 0, "size=256k") == 0) {}
  ~SmallDisk() {
    if (mounted_) ::umount(folder_.path().c_str());
  }
  bool mounted() const { return mounted_; }
  const Path& path() const { return folder_.path(); }

 private:
  TempFolder folder_;
  bool mounted_;
};

TEST(Checkpoints, AFullDiskIsSaidBeforeAndSurvivedAfter) {
  const SmallDisk small;
  if (!small.mounted()) GTEST_SKIP() << "mounting a file system needs root";
  SampleState state(1, 20);
  FaultDisk disk;
  Checkpoints checkpoints({}, small.path(), disk);
  EXPECT_THAT([&] { checkpoints.save(state.get(), {}); },
              ThrowsMessage<Error>(testing::AllOf(HasSubstr("a checkpoint needs"),
                                                  HasSubstr("are free: make room"))));
  disk.claimed_free = int64_t(1) << 40;
  EXPECT_THROW(checkpoints.save(state.get(), {}), Error);
  EXPECT_THAT(unfinished(small.path()), ElementsAre());
  EXPECT_THAT(checkpoints.steps(), ElementsAre());
  EXPECT_GT(real_disk().free_bytes(small.path()), 200 << 10);
}

}  // namespace
}  // namespace limpid
