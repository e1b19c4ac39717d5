#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "core/file.h"

namespace limpid {

struct Finished {
  int code = 0;     // exit status, or 128 + the signal that ended it
  std::string out;  // stdout and stderr together
};

// One of this build's programs in a process of its own.
class Command {
 public:
  // program: "limpid-train". Its output goes to a file in folder.
  Command(const std::string& program, const std::vector<std::string>& arguments,
          const Path& folder);
  ~Command();
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  void signal(int number) const;
  Finished wait();

 private:
  Path output_;
  pid_t process_ = -1;
};

Finished run_command(const std::string& program, const std::vector<std::string>& arguments,
                     const Path& folder);

}  // namespace limpid
