#pragma once

#include <functional>
#include <vector>

#include "parallel/schedule.h"

namespace limpid {

// How long a stage's action takes, in any unit: to compute it, or, of a send, until what it sends
// has arrived. Not asked of a recv.
using Duration = std::function<double(int stage, const Action&)>;

// The same times on every stage. backward is backward_input and backward_weight.
struct Times {
  double forward = 1;
  double backward_input = 1;
  double backward_weight = 1;
  double recompute = 1;
  double transfer = 0;

  double operator()(int stage, const Action&) const;
};

// When each stage does what. A send lasts until what it sends has arrived, a recv as long as the
// stage waits in it.
struct Timeline {
  struct Interval {
    Action action;
    double begin = 0, end = 0;
  };
  std::vector<std::vector<Interval>> stages;  // in the order of the schedule
  double makespan = 0;

  double busy(int stage) const;
  // The part of the makespan in which a stage does not compute; of all stages.
  double idle_share(int stage) const;
  double idle_share() const;
};

// Whether a stage waits for a message where its recv is listed, or goes on and waits where it
// computes with it.
enum class Recvs { wait, go_on };

// Replays a schedule that check() has proved: each stage does its list in order, and a send takes
// none of its time. Throws Error where a message never comes.
Timeline simulate(const Schedule&, const Duration&, Recvs = Recvs::go_on);

}  // namespace limpid
