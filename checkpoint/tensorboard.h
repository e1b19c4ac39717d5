#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/file.h"

namespace limpid {

// Scalars for TensorBoard: one event file a start of the run, in RUN/tb.
class TensorBoard {
 public:
  // A start event at the resume step makes readers drop what an interrupted attempt wrote after
  // it.
  TensorBoard(Disk&, const Path& folder, int64_t resume_step);
  ~TensorBoard();

  void scalar(std::string_view tag, int64_t step, double value);

 private:
  void add(const std::string& record);

  std::unique_ptr<File> file_;
  int64_t size_ = 0;
};

// Whole records as they stand in a file (TFRecord framing, masked CRC-32C, protobuf Event).
std::string version_event(double wall_time);
std::string start_event(double wall_time, int64_t step);
std::string scalar_event(double wall_time, int64_t step, std::string_view tag, float value);

}  // namespace limpid
