#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace limpid {

// Variables by name.
using Environment = std::map<std::string, std::string>;
Environment process_environment();

// Who this process is among those that were started together.
struct Place {
  int rank = 0, size = 1;
  int local_rank = 0;  // among the ranks on this machine
  int node = 0;
  std::string job;    // names this start of the job: job, step and restart
  std::string store;  // "file:FOLDER", "tcp:HOST:PORT", or empty where nothing tells
};

// Reads the variables of the launcher nearest to the process: limpid-launch, torchrun, mpirun,
// srun; or RANK and WORLD_SIZE as set by hand, which must agree with the launcher's. One rank where
// nothing is set. Throws Error, naming the variables, where they contradict one another.
Place find_place(const Environment&);

// "n[08-10,12],login" -> n08 n09 n10 n12 login, as Slurm writes lists of hosts. Throws Error for
// anything else, or for more than 65536 hosts.
std::vector<std::string> expand_hosts(std::string_view list);

}  // namespace limpid
