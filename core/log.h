#pragma once

#include "core/error.h"

namespace limpid {

// Whole lines for people: information to stdout, warnings to stderr with "limpid: warning: "
// before.
void log_line(std::string_view line);
void warn_line(std::string_view line);

template <class... T>
void log(std::string_view text, const T&... values) {
  log_line(format(text, values...));
}
template <class... T>
void warn(std::string_view text, const T&... values) {
  warn_line(format(text, values...));
}

// "1.50 GiB", "12.3 MB/s"-style figures: bytes in binary units, counts in decimal ones (1.2k,
// 124M, 6.7B).
std::string human_bytes(double bytes);
std::string human_count(double count);
std::string human_seconds(double seconds);  // "42 s", "3m 05s", "2h 10m", "4d 03h"

}  // namespace limpid
