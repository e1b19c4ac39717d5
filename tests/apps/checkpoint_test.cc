#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "checkpoint/save.h"
#include "tests/support/command.h"
#include "tests/support/sample_state.h"
#include "tests/support/temp_folder.h"

namespace limpid {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// limpid-checkpoint on a run with checkpoints of steps 2 and 4.
class CheckpointProgram : public testing::Test {
 protected:
  CheckpointProgram() {
    Checkpoints checkpoints({}, run_.path());
    for (const int64_t step : {2, 4})
      checkpoints.save(SampleState(uint64_t(step), step).get(), sample_account(step));
  }

  Finished run(std::vector<std::string> arguments) const {
    return run_command("limpid-checkpoint", arguments, output_.path());
  }
  Path folder(int64_t step) const { return checkpoints_folder(run_.path()) / step_name(step); }
  void damage(const Path& file) const {
    std::ofstream(file, std::ios::binary | std::ios::app) << "x";
  }

  TempFolder run_, output_;
};

TEST_F(CheckpointProgram, ListsEachCheckpointAndWhetherItHolds) {
  damage(folder(4) / kModel);
  const Finished list = run({"list", run_.path()});
  EXPECT_EQ(list.code, 0) << list.out;
  EXPECT_THAT(list.out, AllOf(HasSubstr("         2        2.05k    0.3333"), HasSubstr("verified"),
                              HasSubstr("         4        4.10k    0.2000"),
                              HasSubstr("DAMAGED model.h5: has ")));
  EXPECT_THAT(run({"list", run_.path(), "--fast"}).out,
              AllOf(HasSubstr("not checked"), Not(HasSubstr("DAMAGED"))));
}

TEST_F(CheckpointProgram, ShowsRecipeCountersAndTensors) {
  for (const Path& path : {folder(4), run_.path()}) {
    const Finished show = run({"show", path, "--norms"});
    EXPECT_EQ(show.code, 0) << show.out;
    EXPECT_THAT(show.out, AllOf(HasSubstr("step      4\n"), HasSubstr("tokens    4096"),
                                HasSubstr("parent    "), HasSubstr("model.h5: 5 tensors"),
                                HasSubstr("layers.0.attention.q.weight"), HasSubstr("(24, 24)"),
                                HasSubstr("v/scale"), HasSubstr("seed = 7")));
  }
  EXPECT_EQ(run({"show", folder(4), "--recipe"}).out, "# from the default\nseed = 7\n\n");
}

TEST_F(CheckpointProgram, VerifyExitsWith1AndNamesFileAndTensor) {
  for (const Path& path : {folder(4), run_.path()}) {
    const Finished whole = run({"verify", path});
    EXPECT_EQ(whole.code, 0) << whole.out;
    EXPECT_THAT(whole.out, HasSubstr("step-00000004  verified"));
  }
  {
    std::fstream file(folder(4) / kModel, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(read_manifest(folder(4)).file(kModel).tensors[0].offset);
    file.put('\x5a');
  }
  for (const Path& path : {folder(4), run_.path()}) {
    const Finished verify = run({"verify", path});
    EXPECT_EQ(verify.code, 1);
    EXPECT_THAT(verify.out, HasSubstr("model.h5: tensor embedding.weight: bytes"));
  }
}

TEST_F(CheckpointProgram, SaysWhatIsNoRunAndNoCheckpoint) {
  const Finished list = run({"list", output_.path()});
  EXPECT_EQ(list.code, 1);
  EXPECT_THAT(list.out, HasSubstr("is not the folder of a run"));
  EXPECT_EQ(run({"verify", output_.path()}).code, 1);
  EXPECT_EQ(run({"show", output_ / "none"}).code, 1);
  EXPECT_EQ(run({}).code, 2);
}

}  // namespace
}  // namespace limpid
