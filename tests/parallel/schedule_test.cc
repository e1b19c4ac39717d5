#include "parallel/schedule.h"

#include <gmock/gmock.h>

#include <functional>
#include <set>

namespace limpid {
namespace {

using enum ActionKind;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

std::string error_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

std::vector<std::string> lines(const std::vector<Action>& list) {
  std::vector<std::string> text;
  for (const Action& action : list) text.push_back(to_string(action));
  return text;
}

TEST(PipelineSchedule, OneForwardOneBackward) {
  const Schedule s = one_f_one_b(2, 2);
  EXPECT_THAT(lines(s.actions[0]),
              ElementsAre("forward of micro-batch 0, chunk 0",
                          "send_activation of micro-batch 0, chunk 0, to stage 1",
                          "forward of micro-batch 1, chunk 0",
                          "send_activation of micro-batch 1, chunk 0, to stage 1",
                          "recv_gradient of micro-batch 0, chunk 0, from stage 1",
                          "backward of micro-batch 0, chunk 0",
                          "recv_gradient of micro-batch 1, chunk 0, from stage 1",
                          "backward of micro-batch 1, chunk 0"));
  // The second activation is taken before the gradient is sent: its sender waits for that.
  EXPECT_THAT(lines(s.actions[1]),
              ElementsAre("recv_activation of micro-batch 0, chunk 0, from stage 0",
                          "forward of micro-batch 0, chunk 0", "backward of micro-batch 0, chunk 0",
                          "recv_activation of micro-batch 1, chunk 0, from stage 0",
                          "send_gradient of micro-batch 0, chunk 0, to stage 0",
                          "forward of micro-batch 1, chunk 0", "backward of micro-batch 1, chunk 0",
                          "send_gradient of micro-batch 1, chunk 0, to stage 0"));
}

TEST(PipelineSchedule, CanBeExecutedInItsMemory) {
  for (int p = 1; p <= 8; ++p) {
    for (int m = 1; m <= 17; ++m) {
      EXPECT_THAT(check(gpipe(p, m)), Each(m));
      const std::vector<int> one = check(one_f_one_b(p, m)), zero = check(zero_bubble_h1(p, m));
      for (int stage = 0; stage < p; ++stage) {
        EXPECT_EQ(one[size_t(stage)], std::min(p - stage, m));
        EXPECT_LE(zero[size_t(stage)], std::min(p, m));
      }
      for (int v = 1; v <= 4; ++v) {
        EXPECT_THAT(check(forward_only(p, m, v)), Each(0));
        if (m % p != 0) continue;
        const std::vector<int> peaks = check(interleaved(p, m, v));
        for (int stage = 0; stage < p; ++stage) {
          const int ahead = v == 1 ? p - stage : 2 * (p - stage - 1) + (v - 1) * p + 1;
          EXPECT_EQ(peaks[size_t(stage)], std::min(ahead, m * v));
        }
      }
    }
  }
}

TEST(PipelineSchedule, OneStageTalksToNobody) {
  for (const Schedule& s : {gpipe(1, 3), interleaved(1, 3, 2), zero_bubble_h1(1, 3)})
    for (const Action& action : s.actions[0]) EXPECT_TRUE(action.computes());
}

// So that gradients sum to the same bits under all of them.
TEST(PipelineSchedule, BackwardsKeepTheOrderOfMicroBatches) {
  for (const Schedule& s :
       {gpipe(4, 8), one_f_one_b(4, 8), interleaved(4, 8, 3), zero_bubble_h1(4, 8)}) {
    for (const std::vector<Action>& list : s.actions) {
      std::vector<int> next(size_t(s.chunks), 0);
      for (const Action& action : list)
        if (action.kind == backward || action.kind == backward_weight) {
          EXPECT_EQ(action.micro_batch, next[size_t(action.chunk)]++);
        }
      EXPECT_THAT(next, Each(8));
    }
  }
}

TEST(PipelineSchedule, SizesMustMakeSense) {
  EXPECT_THAT(error_of([] { interleaved(4, 6, 2); }),
              HasSubstr("micro-batches in groups of 4, one a stage, not 6"));
  EXPECT_THAT(error_of([] { gpipe(0, 6); }), HasSubstr("each must be one or more"));
  EXPECT_THAT(error_of([] { one_f_one_b(2, 0); }), HasSubstr("each must be one or more"));
}

TEST(PipelineSchedule, ConfigMakesTheOneAskedFor) {
  PipelineConfig c;
  EXPECT_EQ(c.make(3, 6).actions, one_f_one_b(3, 6).actions);
  c.schedule = PipelineKind::gpipe;
  EXPECT_EQ(c.make(3, 6).actions, gpipe(3, 6).actions);
  c.schedule = PipelineKind::zero_bubble_h1;
  EXPECT_EQ(c.make(3, 6).actions, zero_bubble_h1(3, 6).actions);
  c.chunks = 2;
  Problems problems;
  c.check(problems);
  ASSERT_EQ(problems.found.size(), 1u);
  EXPECT_EQ(problems.found[0].key, "chunks");
  c.schedule = PipelineKind::interleaved;
  EXPECT_EQ(c.make(3, 6).actions, interleaved(3, 6, 2).actions);
  problems.found.clear();
  c.check(problems);
  EXPECT_TRUE(problems.found.empty());
  std::set<std::string> keys;
  for (const Entry& entry : list_entries(c)) keys.insert(entry.key + " = " + entry.value);
  EXPECT_THAT(keys, ElementsAre("chunks = 2", "schedule = \"interleaved\""));
}

}  // namespace
}  // namespace limpid
