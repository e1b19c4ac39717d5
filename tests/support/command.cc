#include "tests/support/command.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include "core/error.h"

namespace limpid {

Command::Command(const std::string& program, const std::vector<std::string>& arguments,
                 const Path& folder)
    : output_(folder / (program + ".out")) {
  const std::string path = std::string(LIMPID_BINARIES) + "/" + program;
  std::vector<char*> argv = {const_cast<char*>(path.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  process_ = fork();
  require(process_ >= 0, "cannot start {}{}", program, errno_text());
  if (process_ > 0) return;
  const int out = open(output_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  dup2(out, STDOUT_FILENO);
  dup2(out, STDERR_FILENO);
  execv(path.c_str(), argv.data());
  _exit(127);
}

Command::~Command() {
  if (process_ < 0) return;
  signal(SIGKILL);
  wait();
}

void Command::signal(int number) const { kill(process_, number); }

Finished Command::wait() {
  int status = 0;
  waitpid(std::exchange(process_, -1), &status, 0);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_text(output_)};
}

Finished run_command(const std::string& program, const std::vector<std::string>& arguments,
                     const Path& folder) {
  return Command(program, arguments, folder).wait();
}

}  // namespace limpid
