#include "checkpoint/save.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/load.h"
#include "core/hash.h"
#include "tests/support/sample_state.h"
#include "tests/support/temp_folder.h"

namespace limpid {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Checkpoints, LoadsEveryBitThatWasSaved) {
  const TempFolder run;
  SampleState state(1, 20);
  Checkpoints({}, run.path()).save(state.get(), sample_account(20));

  SampleState back(2);
  Checkpoints again({}, run.path());
  EXPECT_EQ(again.newest_verified(), 20);
  back.clear();
  again.load(20, back.get());
  EXPECT_EQ(back.bytes(), state.bytes());
  EXPECT_EQ(back.get().step, 20);
  EXPECT_EQ(back.get().counters, state.get().counters);
}

}  // namespace
}  // namespace limpid
