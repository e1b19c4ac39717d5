#include "parallel/draw.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace limpid {
namespace {

std::string label(const Action& action, bool chunks) {
  constexpr std::array kLetters = {'F', 'B', 'B', 'W', 'R'};
  std::string text(1, kLetters[size_t(action.kind)]);
  text += std::to_string(action.micro_batch);
  if (chunks) text += action.chunk < 26 ? char('a' + action.chunk) : '+';
  return text;
}

bool has_chunks(const Timeline& timeline) {
  for (const auto& stage : timeline.stages)
    for (const Timeline::Interval& interval : stage)
      if (interval.action.chunk > 0) return true;
  return false;
}

// Columns a unit of time in which every label has a blank behind it.
double scale_of(const Timeline& timeline, bool chunks) {
  double scale = 0;
  for (const auto& stage : timeline.stages)
    for (const auto& [action, begin, end] : stage)
      if (action.computes() && end > begin)
        scale = std::max(scale, double(label(action, chunks).size() + 1) / (end - begin));
  return scale;
}

}  // namespace

std::string draw(const Timeline& timeline, int columns) {
  const bool chunks = has_chunks(timeline);
  const double scale = columns > 0 && timeline.makespan > 0 ? columns / timeline.makespan
                                                            : scale_of(timeline, chunks);
  const auto column = [&](double time) { return size_t(std::llround(time * scale)); };
  std::string text;
  for (size_t stage = 0; stage < timeline.stages.size(); ++stage) {
    std::string line(column(timeline.makespan), '.');
    for (const auto& [action, begin, end] : timeline.stages[stage]) {
      if (!action.computes()) continue;
      const size_t first = column(begin), width = column(end) - first;
      if (width == 0) continue;
      std::string cell = label(action, chunks);
      cell.resize(width, '-');
      if (width > 1) cell.back() = ' ';
      line.replace(first, width, cell);
    }
    text +=
        format("stage {:<3} {} idle {:.1f}%\n", stage, line, 100 * timeline.idle_share(int(stage)));
  }
  return text;
}

}  // namespace limpid
