#include "optim/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

namespace limpid {
namespace {

TEST(Schedule, WarmsUpInALine) {
  const ScheduleConfig c{.warmup_steps = 4};
  EXPECT_DOUBLE_EQ(c.ratio(0, 100), 0.25);
  EXPECT_DOUBLE_EQ(c.ratio(3, 100), 1);
}

TEST(Schedule, FallsAsItsKindSays) {
  ScheduleConfig c{.warmup_steps = 10, .min_ratio = 0.1};
  const auto at = [&](ScheduleKind kind, int64_t step) {
    c.kind = kind;
    return c.ratio(step, 110);
  };
  EXPECT_DOUBLE_EQ(at(ScheduleKind::constant, 109), 1);
  EXPECT_DOUBLE_EQ(at(ScheduleKind::cosine, 10), 1);
  EXPECT_DOUBLE_EQ(at(ScheduleKind::cosine, 60), 0.55);
  EXPECT_NEAR(at(ScheduleKind::cosine, 35), 0.1 + 0.45 * (1 + std::sqrt(0.5)), 1e-12);
  EXPECT_DOUBLE_EQ(at(ScheduleKind::linear, 35), 0.775);
  c.power = 2;
  EXPECT_DOUBLE_EQ(at(ScheduleKind::polynomial, 60), 0.1 + 0.9 * 0.25);
  EXPECT_DOUBLE_EQ(at(ScheduleKind::wsd, 87), 1);
  EXPECT_DOUBLE_EQ(at(ScheduleKind::wsd, 88), 1);
  EXPECT_DOUBLE_EQ(at(ScheduleKind::wsd, 99), 0.55);
  for (ScheduleKind kind :
       {ScheduleKind::cosine, ScheduleKind::linear, ScheduleKind::polynomial, ScheduleKind::wsd}) {
    EXPECT_DOUBLE_EQ(at(kind, 110), 0.1);
    EXPECT_DOUBLE_EQ(at(kind, 100000), 0.1);
  }
}

TEST(Schedule, DecayMayEndBeforeTheRun) {
  const ScheduleConfig c{.kind = ScheduleKind::linear, .decay_steps = 50, .min_ratio = 0};
  EXPECT_DOUBLE_EQ(c.ratio(25, 1000), 0.5);
  EXPECT_DOUBLE_EQ(c.ratio(50, 1000), 0);
}

}  // namespace
}  // namespace limpid
