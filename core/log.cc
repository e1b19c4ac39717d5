#include "core/log.h"

#include <array>
#include <cmath>
#include <cstdio>

namespace limpid {

void log_line(std::string_view line) {
  std::fprintf(stdout, "%.*s\n", int(line.size()), line.data());
  std::fflush(stdout);
}

void warn_line(std::string_view line) {
  std::fprintf(stderr, "limpid: warning: %.*s\n", int(line.size()), line.data());
}

std::string human_bytes(double bytes) {
  constexpr std::array units = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < units.size()) bytes /= 1024, ++unit;
  return unit == 0 ? format("{:.0f} B", bytes) : format("{:.2f} {}", bytes, units[unit]);
}

std::string human_count(double count) {
  constexpr std::array units = {"", "k", "M", "B", "T"};
  size_t unit = 0;
  while (count >= 1000 && unit + 1 < units.size()) count /= 1000, ++unit;
  return format(count >= 100 || unit == 0 ? "{:.0f}{}" : "{:.2f}{}", count, units[unit]);
}

std::string human_seconds(double seconds) {
  if (!std::isfinite(seconds)) return "unknown";
  const int64_t s = int64_t(seconds + 0.5);
  if (s < 60) return format("{} s", s);
  if (s < 3600) return format("{}m {:02d}s", s / 60, s % 60);
  if (s < 86400) return format("{}h {:02d}m", s / 3600, s / 60 % 60);
  return format("{}d {:02d}h", s / 86400, s / 3600 % 24);
}

}  // namespace limpid
