#include "parallel/timeline.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <random>

namespace limpid {
namespace {

// Of the better and the simpler way to receive, which must be the same without transfer times.
double idle(const Schedule& s) {
  const double share = simulate(s, Times{}, Recvs::go_on).idle_share();
  EXPECT_DOUBLE_EQ(simulate(s, Times{}, Recvs::wait).idle_share(), share);
  return share;
}

// Narayanan et al. 2021, Qi et al. 2023; forward, input and weight times are equal.
TEST(Timeline, BubblesAreThoseOfTheTheory) {
  for (int p = 1; p <= 8; ++p) {
    for (int m = 1; m <= 32; ++m) {
      const double bubble = p - 1;
      EXPECT_NEAR(idle(gpipe(p, m)), bubble / (m + bubble), 1e-9);
      EXPECT_NEAR(idle(one_f_one_b(p, m)), bubble / (m + bubble), 1e-9);
      if (m >= p) {
        EXPECT_NEAR(idle(zero_bubble_h1(p, m)), bubble / (3 * m + bubble), 1e-9);
      }
      for (int v = 1; v <= 4 && m % p == 0; ++v)
        EXPECT_NEAR(idle(interleaved(p, m, v)), bubble / (v * m + bubble), 1e-9);
      EXPECT_NEAR(idle(forward_only(p, m)), bubble / (m + bubble), 1e-9);
    }
  }
}

TEST(Timeline, TransfersTakeTime) {
  const Times times{.forward = 1, .backward_input = 1, .backward_weight = 1, .transfer = 0.25};
  const Timeline t = simulate(gpipe(2, 1), times, Recvs::wait);
  EXPECT_DOUBLE_EQ(t.makespan, 6.5);
  EXPECT_DOUBLE_EQ(t.busy(0), 3);
  EXPECT_DOUBLE_EQ(t.idle_share(1), 1 - 3 / 6.5);
  // The send leaves when the forward is done, and the sender does not wait for it.
  const Timeline::Interval& send = t.stages[0][1];
  EXPECT_EQ(send.action.kind, ActionKind::send_activation);
  EXPECT_DOUBLE_EQ(send.begin, 1);
  EXPECT_DOUBLE_EQ(send.end, 1.25);
  const Timeline::Interval& recv = t.stages[0][2];
  EXPECT_EQ(recv.action.kind, ActionKind::recv_gradient);
  EXPECT_DOUBLE_EQ(recv.begin, 1);
  EXPECT_DOUBLE_EQ(recv.end, 5.5 - 1);
}

// A recv that stands earlier than its use, so that sends may wait for it, then costs nothing.
TEST(Timeline, WaitingWhereAMessageIsUsedIsFaster) {
  const Times times{.transfer = 0.5};
  for (const Schedule& s : {one_f_one_b(4, 8), interleaved(4, 8, 2), zero_bubble_h1(4, 8)}) {
    const Timeline early = simulate(s, times, Recvs::wait), late = simulate(s, times);
    EXPECT_LE(late.makespan, early.makespan);
    for (size_t stage = 0; stage < late.stages.size(); ++stage)
      for (size_t i = 0; i < late.stages[stage].size(); ++i)
        EXPECT_LE(late.stages[stage][i].end, early.stages[stage][i].end);
  }
  EXPECT_DOUBLE_EQ(simulate(one_f_one_b(2, 1), times).makespan, 3 + 3 + 2 * 0.5);
  const Schedule s = one_f_one_b(4, 8);
  EXPECT_LT(simulate(s, times).makespan, simulate(s, times, Recvs::wait).makespan);
}

// sum of all stages + (m - 1) of the slowest (Alpa, Zheng et al. 2022, arXiv:2201.12023).
TEST(Timeline, TheSlowestStageSetsThePace) {
  const std::vector<double> part = {1, 3, 2};
  const Timeline t = simulate(gpipe(3, 5), [&](int stage, const Action& action) {
    return action.computes() ? part[size_t(stage)] : 0.0;
  });
  EXPECT_DOUBLE_EQ(t.makespan, 2 * (1 + 3 + 2 + 4 * 3));
  EXPECT_DOUBLE_EQ(t.idle_share(1), 1 - 30 / t.makespan);
}

using Table = std::vector<std::vector<double>>;  // by stage and action

// When each action ends, by relaxation to a fixed point.
Table relaxed_ends(const Schedule& s, const Table& takes, Recvs recvs) {
  const auto sent_at = [&](const Table& ends, int stage, const Action& recv) {
    const std::vector<Action>& sender = s.actions[size_t(recv.peer)];
    for (size_t i = 0; i < sender.size(); ++i)
      if (sender[i].sends() && sender[i].peer == stage && s.met_by(recv.peer, sender[i]) == recv)
        return ends[size_t(recv.peer)][i];
    return 1e300;
  };
  Table ends = takes;
  for (bool changed = true; changed;) {
    changed = false;
    for (int stage = 0; stage < s.stages; ++stage) {
      double now = 0;
      std::vector<std::pair<Action, double>> begun;  // recvs, and when their messages come
      for (size_t i = 0; i < s.actions[size_t(stage)].size(); ++i) {
        const Action& action = s.actions[size_t(stage)][i];
        if (action.receives()) begun.push_back({action, sent_at(ends, stage, action)});
        if (action.receives() && recvs == Recvs::wait) now = std::max(now, begun.back().second);
        if (action.computes()) {
          for (const auto& [recv, at] : begun)
            if (recv.micro_batch == action.micro_batch && recv.chunk == action.chunk)
              now = std::max(now, at);
          now += takes[size_t(stage)][i];
        }
        const double end = action.sends() ? now + takes[size_t(stage)][i] : now;
        changed |= end != ends[size_t(stage)][i];
        ends[size_t(stage)][i] = end;
      }
    }
  }
  return ends;
}

TEST(Timeline, EveryActionBeginsAsSoonAsItCan) {
  std::mt19937 dice(1);
  for (const Schedule& s :
       {gpipe(3, 4), one_f_one_b(5, 7), interleaved(3, 6, 2), zero_bubble_h1(4, 6)}) {
    Table takes;
    for (const std::vector<Action>& list : s.actions) {
      takes.emplace_back(list.size());
      for (double& length : takes.back())
        length = std::uniform_real_distribution<double>(0, 2)(dice);
    }
    const auto duration = [&](int stage, const Action& action) {
      const std::vector<Action>& list = s.actions[size_t(stage)];
      return takes[size_t(stage)]
                  [size_t(std::find(list.begin(), list.end(), action) - list.begin())];
    };
    for (const Recvs recvs : {Recvs::wait, Recvs::go_on}) {
      const Timeline t = simulate(s, duration, recvs);
      const Table ends = relaxed_ends(s, takes, recvs);
      for (size_t stage = 0; stage < t.stages.size(); ++stage)
        for (size_t i = 0; i < t.stages[stage].size(); ++i)
          EXPECT_DOUBLE_EQ(t.stages[stage][i].end, ends[stage][i]);
    }
  }
}

TEST(Timeline, AMessageThatNeverComesIsAnError) {
  Schedule s = one_f_one_b(2, 1);
  std::erase_if(s.actions[0],
                [](const Action& action) { return action.kind == ActionKind::send_activation; });
  try {
    simulate(s, Times{});
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("waits for ever in backward of micro-batch 0"));
  }
}

}  // namespace
}  // namespace limpid
