#include "apps/support/program.h"

#include <malloc.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "core/file.h"

namespace limpid {

int run_program(CLI::App& app, int argc, char** argv, const std::function<void()>& body) {
  // oneDNN takes and frees work space at each call: keep it in the heap, or the kernel clears pages
  // every time.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  try {
    body();
    return 0;
  } catch (const std::exception& error) {
    std::fflush(stdout);
    std::fprintf(stderr, "%s: error: %s\n", Path(argv[0]).filename().c_str(), error.what());
    return 1;
  }
}

}  // namespace limpid
