#pragma once

#include <chrono>

#include "checkpoint/state.h"
#include "core/fields.h"

namespace limpid {

struct LogConfig {
  int64_t every = 10;
  bool tensorboard = true;

  void fields(Fields&);
};

// What a run is measured against.
struct Pace {
  int64_t steps = 0;            // of the whole run
  double flops_per_token = 0;   // 6 * matmul weights + causal attention
  double peak_flops_per_s = 0;  // a plain matmul's rate on this machine; 0 where unknown
};

// Shows progress: one live line on a terminal, a plain line every few steps elsewhere.
class Meter {
 public:
  Meter(const LogConfig&, const Pace&, int64_t first_step);
  ~Meter();

  void step(const StepRecord&, int64_t step_tokens);
  // A line of its own, which stays.
  void say(const std::string& line);

 private:
  std::string line(const StepRecord&) const;

  LogConfig config_;
  Pace pace_;
  bool live_;
  bool line_open_ = false;
  int64_t first_step_;
  double tokens_per_s_ = 0;  // smoothed over about ten steps
  double seconds_per_step_ = 0;
};

}  // namespace limpid
