#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace limpid {

// Several ranks of one program on this machine.
struct Launch {
  int ranks = 1;
  std::vector<std::string> command;                            // the program and its arguments
  std::chrono::milliseconds grace = std::chrono::seconds(10);  // from SIGTERM to SIGKILL
};

// Starts the ranks and returns when all have ended: 0, or the exit status of the first that failed
// (128 + the signal that ended it). When one fails, it is named on stderr and the others are ended.
// Lines of ranks other than 0 begin with "[rank r] ". SIGTERM, SIGINT, SIGHUP, SIGUSR1 and SIGUSR2
// are passed on. OMP_NUM_THREADS, where it is not set, becomes each rank's share of the processors.
int launch(const Launch&);

}  // namespace limpid
