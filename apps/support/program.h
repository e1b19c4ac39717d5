#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace limpid {

// Parses the command line and runs the body. What main returns: 0, or 1 after an Error, which is
// printed to stderr in one message, or 2 where the command line was wrong. --help prints and
// returns 0.
int run_program(CLI::App&, int argc, char** argv, const std::function<void()>& body);

}  // namespace limpid
