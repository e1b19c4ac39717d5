// limpid-launch -- starts several ranks of a program on this machine.
//   limpid-launch -n 4 limpid-train recipes/llama-1b.toml --set train.steps=1000
#include "parallel/launch.h"

#include <CLI/CLI.hpp>

#include "apps/support/program.h"

using namespace limpid;

int main(int argc, char** argv) {
  CLI::App app(
      "Starts several ranks of a program on this machine, and ends all of them when one fails. "
      "Lines of ranks other than 0 begin with \"[rank r] \".");
  Launch how;
  double grace_s = 10;
  app.add_option("-n,--ranks", how.ranks, "how many ranks")->check(CLI::Range(1, 4096))->required();
  app.add_option("--grace", grace_s, "seconds from SIGTERM to SIGKILL when one has failed")
      ->check(CLI::Range(0.0, 86400.0))
      ->capture_default_str();
  app.prefix_command();
  int status = 0;
  const int parsed = run_program(app, argc, argv, [&] {
    how.command = app.remaining();
    if (!how.command.empty() && how.command[0] == "--") how.command.erase(how.command.begin());
    how.grace = std::chrono::milliseconds(int64_t(grace_s * 1e3));
    status = launch(how);
  });
  return parsed ? parsed : status;
}
