#include "apps/support/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "core/log.h"

namespace limpid {

ProgressLine::ProgressLine(std::string what)
    : what_(std::move(what)), live_(isatty(STDOUT_FILENO)), next_s_(live_ ? 0.1 : 10) {}

ProgressLine::~ProgressLine() {
  if (line_open_) std::fputs("\r\033[K", stdout);
}

void ProgressLine::show(int64_t bytes, int64_t total, const std::string& more) {
  const double now = seconds();
  next_s_ = now + (live_ ? 0.1 : 10);
  const double left = double(total - bytes) / (double(bytes) / now);
  const std::string line = format("{} {} of {} ({:.0f}%)  {:.1f} MB/s{}  {} left", what_,
                                  human_bytes(double(bytes)), human_bytes(double(total)),
                                  100.0 * double(bytes) / double(std::max<int64_t>(1, total)),
                                  double(bytes) / now / 1e6, more, human_seconds(left));
  if (!live_) return log_line(line);
  std::printf("\r\033[K%s", line.c_str());
  std::fflush(stdout);
  line_open_ = true;
}

double ProgressLine::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
}

}  // namespace limpid
