#pragma once

#include "core/fields.h"

namespace limpid {

enum class ScheduleKind { constant, linear, cosine, polynomial, wsd };

// The learning rate as a part of its peak, over steps: a linear warm-up, then
//   constant    1
//   linear      down to min_ratio in a line over decay_steps after the warm-up
//   cosine      down to min_ratio in half a cosine (Loshchilov & Hutter 2017, arXiv:1608.03983)
//   polynomial  down to min_ratio as (1 - progress)^power
//   wsd         1, then over the last decay_fraction of the steps down to min_ratio in a line (Hu
//   et al. 2024, arXiv:2404.06395)
struct ScheduleConfig {
  ScheduleKind kind = ScheduleKind::cosine;
  int64_t warmup_steps = 0;
  int64_t decay_steps = 0;  // steps at which the decay ends; 0 means train.steps
  double min_ratio = 0.1;
  double power = 1;
  double decay_fraction = 0.2;

  void fields(Fields&);
  // Factor on the peak at `step` (from 0) of a run of total_steps. The first warm-up step has 1 /
  // warmup_steps; past the end it stays min_ratio.
  double ratio(int64_t step, int64_t total_steps) const;
};

}  // namespace limpid
