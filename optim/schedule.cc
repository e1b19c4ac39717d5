#include "optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace limpid {

void ScheduleConfig::fields(Fields& f) {
  static constexpr const char* kKinds[] = {"constant", "linear", "cosine", "polynomial", "wsd"};
  f.field("kind", kind, kKinds, "how the learning rate falls after the warm-up");
  f.field("warmup_steps", warmup_steps, "steps in which it rises in a line to its peak",
          kNotNegative);
  f.field("decay_steps", decay_steps, "the step at which the decay ends; 0 means train.steps",
          kNotNegative);
  f.field("min_ratio", min_ratio, "what it falls to, as a part of the peak", kFraction);
  f.field("power", power, "of polynomial decay", {0.01, 100});
  f.field("decay_fraction", decay_fraction, "of wsd: the last part of the steps, in which it falls",
          kFraction);
}

double ScheduleConfig::ratio(int64_t step, int64_t total_steps) const {
  if (step < warmup_steps) return double(step + 1) / double(warmup_steps);
  const int64_t end = decay_steps ? decay_steps : total_steps;
  const int64_t begin =
      kind == ScheduleKind::wsd
          ? std::max(warmup_steps, end - int64_t(std::llround(decay_fraction * double(end))))
          : warmup_steps;
  const double progress =
      std::clamp(double(step - begin) / double(std::max<int64_t>(1, end - begin)), 0.0, 1.0);
  const double range = 1 - min_ratio;
  switch (kind) {
    case ScheduleKind::constant:
      return 1;
    case ScheduleKind::cosine:
      return min_ratio + range * 0.5 * (1 + std::cos(std::numbers::pi * progress));
    case ScheduleKind::polynomial:
      return min_ratio + range * std::pow(1 - progress, power);
    case ScheduleKind::linear:
    case ScheduleKind::wsd:
      return min_ratio + range * (1 - progress);
  }
  fail("an unknown schedule");
}

}  // namespace limpid
