#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace limpid {

// How far reading has come: one live line on a terminal, elsewhere a plain line every ten seconds.
class ProgressLine {
 public:
  explicit ProgressLine(std::string what);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  // Whether it is time for show().
  bool due() const { return seconds() >= next_s_; }
  // bytes of total are done; more: what else to say.
  void show(int64_t bytes, int64_t total, const std::string& more);
  double seconds() const;

 private:
  std::string what_;
  bool live_;
  bool line_open_ = false;
  double next_s_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace limpid
