#include <gmock/gmock.h>

#include <algorithm>
#include <functional>

#include "parallel/schedule.h"
#include "parallel/transfers.h"

namespace limpid {
namespace {

using enum ActionKind;
using testing::HasSubstr;

std::string error_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

std::vector<Schedule> samples() {
  return {gpipe(3, 4), one_f_one_b(3, 4), interleaved(2, 4, 2), zero_bubble_h1(3, 4),
          forward_only(3, 2, 2)};
}

TEST(ScheduleCheck, MissesNoAction) {
  for (const Schedule& whole : samples()) {
    for (size_t stage = 0; stage < whole.actions.size(); ++stage) {
      for (size_t i = 0; i < whole.actions[stage].size(); ++i) {
        Schedule s = whole;
        s.actions[stage].erase(s.actions[stage].begin() + int64_t(i));
        EXPECT_THROW(check(s), Error) << "without " << to_string(whole.actions[stage][i]);
        s = whole;
        s.actions[stage].push_back(whole.actions[stage][i]);
        EXPECT_THROW(check(s), Error) << "twice " << to_string(whole.actions[stage][i]);
      }
    }
  }
}

// A naive replay of one order of events, to hold check() against: every stage steps when it can.
bool replays(const Schedule& s, Sends sends) {
  std::vector<size_t> at(s.actions.size(), 0);
  std::vector<std::vector<Action>> inbox(s.actions.size() * s.actions.size());
  for (bool moved = true; moved;) {
    moved = false;
    for (size_t stage = 0; stage < at.size(); ++stage) {
      if (at[stage] == s.actions[stage].size()) continue;
      const Action& action = s.actions[stage][at[stage]];
      if (action.sends()) {
        const size_t peer = size_t(action.peer);
        const Action recv = s.met_by(int(stage), action);
        const bool meets = at[peer] < s.actions[peer].size() && s.actions[peer][at[peer]] == recv;
        if (sends == Sends::wait && !meets) continue;
        inbox[stage * at.size() + peer].push_back(recv);
      } else if (action.receives()) {
        std::vector<Action>& messages = inbox[size_t(action.peer) * at.size() + stage];
        if (messages.empty() || messages.front() != action) continue;
        messages.erase(messages.begin());
      }
      ++at[stage];
      moved = true;
    }
  }
  for (size_t stage = 0; stage < at.size(); ++stage)
    if (at[stage] < s.actions[stage].size()) return false;
  return true;
}

TEST(ScheduleCheck, PassesOnlyWhatRuns) {
  int refused = 0, passed = 0;
  for (const Schedule& whole : samples()) {
    for (size_t stage = 0; stage < whole.actions.size(); ++stage) {
      for (size_t i = 0; i + 1 < whole.actions[stage].size(); ++i) {
        for (size_t j = i + 1; j < std::min(i + 6, whole.actions[stage].size()); ++j) {
          Schedule s = whole;
          std::swap(s.actions[stage][i], s.actions[stage][j]);
          const bool passes = error_of([&] { check(s); }) == "no error";
          if (passes) {
            EXPECT_TRUE(replays(s, Sends::go_on) && replays(s, Sends::wait));
          }
          ++(passes ? passed : refused);
        }
      }
    }
  }
  EXPECT_GT(refused, 300);
  EXPECT_GT(passed, 10);
}

// Two stages of one micro-batch, to be bent.
Schedule pair() { return one_f_one_b(2, 1); }

TEST(ScheduleCheck, SaysWhatIsWrong) {
  const auto text = [](const std::function<void(Schedule&)>& bend) {
    Schedule s = pair();
    bend(s);
    return error_of([&] { check(s); });
  };
  EXPECT_EQ(text([](Schedule&) {}), "no error");
  EXPECT_EQ(
      text([](Schedule& s) { std::swap(s.actions[0][0], s.actions[0][1]); }),
      "stage 0, action 0 (send_activation of micro-batch 0, chunk 0, to stage 1): its forward "
      "must come before it");
  EXPECT_EQ(text([](Schedule& s) { s.actions[1].pop_back(); }),
            "stage 1, micro-batch 0, chunk 0: its send_gradient is missing");
  EXPECT_THAT(text([](Schedule& s) { s.actions[0].push_back({backward}); }),
              HasSubstr("stage 0, action 4 (backward of micro-batch 0, chunk 0): done before"));
  EXPECT_THAT(text([](Schedule& s) { s.actions[0].push_back({recompute}); }),
              HasSubstr("its backward is over"));
  EXPECT_THAT(text([](Schedule& s) { s.actions[0].insert(s.actions[0].begin(), {recompute}); }),
              HasSubstr("its forward must come before it"));
  EXPECT_THAT(text([](Schedule& s) { s.actions[0][1].peer = 0; }),
              HasSubstr("its other side is stage 1"));
  EXPECT_THAT(text([](Schedule& s) { s.actions[0][0].micro_batch = 1; }),
              HasSubstr("there are 1 micro-batches"));
  EXPECT_THAT(text([](Schedule& s) {
                s.actions[0].push_back({recv_activation, 0, 0, 1});
              }),
              HasSubstr("there is nobody to meet"));
  EXPECT_THAT(text([](Schedule& s) { s.max_alive[0] = 0; }),
              HasSubstr("1 activations are kept, but the schedule states at most 0"));
  EXPECT_THAT(text([](Schedule& s) { s.trains = false; }), HasSubstr("does not train"));
  EXPECT_THAT(text([](Schedule& s) { s.actions.pop_back(); }), HasSubstr("has 1 lists"));
}

TEST(ScheduleCheck, RecomputeGoesBeforeBackward) {
  Schedule s = pair();
  s.actions[0].insert(s.actions[0].end() - 1, {recompute});
  EXPECT_EQ(check(s), check(pair()));
}

TEST(ScheduleCheck, MessagesKeepTheirOrder) {
  Schedule s = gpipe(2, 2);
  // Stage 1 receives both activations first, the second before the first.
  std::vector<Action>& list = s.actions[1];
  std::vector<Action> recvs;
  std::erase_if(list, [&](const Action& action) {
    if (action.kind == recv_activation) recvs.insert(recvs.begin(), action);
    return action.kind == recv_activation;
  });
  list.insert(list.begin(), recvs.begin(), recvs.end());
  EXPECT_THAT(error_of([&] { check(s); }), HasSubstr("message 0 from stage 0 to stage 1 is "
                                                     "recv_activation of micro-batch 1"));
}

// What every text book draws: sends at once, recvs before their use. It hangs where sends wait.
TEST(ScheduleCheck, SendsMayNotMeet) {
  Schedule s = one_f_one_b(2, 2);
  std::vector<Action>& list = s.actions[1];
  ASSERT_EQ(list[3].kind, recv_activation);
  std::swap(list[3], list[4]);
  EXPECT_THAT(error_of([&] { check(s); }),
              HasSubstr("stages wait for each other where sends wait for their recvs; stage 0 in "
                        "send_activation of micro-batch 1, chunk 0, to stage 1; stage 1 in "
                        "send_gradient of micro-batch 0"));
}

TEST(ScheduleCheck, StagesMayWaitForEachOtherForEver) {
  Schedule s = one_f_one_b(2, 2);
  // Stage 0 wants the first gradient before it sends what it comes from.
  const auto first = s.actions[0].begin();
  std::rotate(first + 1, first + 4, first + 5);
  EXPECT_THAT(error_of([&] { check(s); }),
              HasSubstr("stages wait for each other where sends do not wait"));
}

}  // namespace
}  // namespace limpid
