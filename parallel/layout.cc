#include "parallel/layout.h"

#include <algorithm>

namespace limpid {
namespace {

struct Extent {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
};

// The part of an extent that one index has. A copy: a neighbour before it holds the same.
struct Part {
  Extent extent;
  bool copy = false;
};

Part part_of(const Cut& cut, Extent all, int64_t index, int64_t parts) {
  if (!cut.ends.empty()) {
    require(cut.ends.back() >= all.size(), "the last part of a cut over {} ends at {} of {}",
            cut.axes, cut.ends.back(), all.size());
    const auto at = [&](int64_t i) {
      return all.begin + (i < 0 ? 0 : std::min(cut.ends[size_t(i)], all.size()));
    };
    return {{at(index - 1), at(index)}};
  }
  const int64_t units = (all.size() + cut.unit - 1) / cut.unit;
  const bool shared = cut.share && units < parts && units > 0;
  require(!shared || parts % units == 0,
          "{} units are to be shared by {} ranks: neither number divides the other; set "
          "parallel.tensor to a divisor or a multiple of {}",
          units, parts, units);
  const int64_t copies = shared ? parts / units : 1;
  const int64_t part = index / copies, each = units / (parts / copies),
                longer = units % (parts / copies);
  const auto at = [&](int64_t i) {
    return all.begin + std::min((i * each + std::min(i, longer)) * cut.unit, all.size());
  };
  return {{at(part), at(part + 1)}, index % copies != 0};
}

// What a rank has of a tensor that its stage holds, before `own`: a range of a box's elements.
struct Share {
  Box box;
  Extent flat = {};
  bool copy = false;
};

Share share_of(const Layout& layout, const Mesh& mesh, const Coordinate& at) {
  Share share{.box = whole(layout.shape)};
  bool is_flat = false;
  for (const Cut& cut : layout.cuts) {
    const int64_t index = mesh.index(at, cut.axes), parts = mesh.size(cut.axes);
    if (cut.dim == Cut::kFlat) {
      if (!is_flat) share.flat = {0, share.box.numel()};
      is_flat = true;
      const Part part = part_of(cut, share.flat, index, parts);
      share.flat = part.extent;
      share.copy |= part.copy;
    } else {
      int64_t &begin = share.box.begin[cut.dim], &end = share.box.end[cut.dim];
      const Part part = part_of(cut, {begin, end}, index, parts);
      begin = part.extent.begin;
      end = part.extent.end;
      share.copy |= part.copy;
    }
  }
  if (!is_flat) share.flat = {0, share.box.numel()};
  return share;
}

Axes cut_axes(const Layout& layout) {
  Axes axes;
  for (const Cut& cut : layout.cuts) axes = axes.with(cut.axes);
  return axes;
}

bool on_stage(const Layout& layout, const Coordinate& at) {
  return layout.stages.empty() || std::find(layout.stages.begin(), layout.stages.end(),
                                            at[Axis::pipe]) != layout.stages.end();
}

Shape with_first(int64_t first, const Shape& rest) {
  Shape all = {first};
  for (int i = 0; i < rest.rank(); ++i) all.append(rest[i]);
  return all;
}

std::vector<Box> stored_boxes(const Layout& layout, const Mesh& mesh, const Coordinate& at,
                              const Share& share) {
  std::vector<Box> boxes = flat_range(share.box, share.flat.begin, share.flat.end);
  if (layout.own.empty()) return boxes;
  const int64_t index = mesh.index(at, layout.own);
  for (Box& box : boxes) box = {with_first(index, box.begin), with_first(index + 1, box.end)};
  return boxes;
}

void check_cut(const Layout& layout, const Cut& cut, const Mesh& mesh) {
  require(cut.dim >= Cut::kFlat && cut.dim < layout.shape.rank(), "{}: there is no dim {} to cut",
          layout, cut.dim);
  require(!cut.axes.empty(), "{}: a cut of dim {} needs axes", layout, cut.dim);
  require(cut.unit >= 1, "{}: a unit of {} elements; it needs one or more", layout, cut.unit);
  if (cut.ends.empty()) return;
  require(!cut.share && cut.unit == 1, "{}: ends of parts leave nothing to unit and share", layout);
  require(int(cut.ends.size()) == mesh.size(cut.axes), "{}: {} ends of parts, but {} has {}",
          layout, cut.ends.size(), cut.axes, mesh.size(cut.axes));
  require(cut.ends.front() >= 0 && std::is_sorted(cut.ends.begin(), cut.ends.end()),
          "{}: the ends of parts must not fall", layout);
}

void check_stages(const Layout& layout, const Mesh& mesh) {
  for (const int stage : layout.stages) {
    require(stage >= 0 && stage < mesh.size(Axis::pipe), "{}: there is no stage {} of {}", layout,
            stage, mesh.size(Axis::pipe));
    require(std::count(layout.stages.begin(), layout.stages.end(), stage) == 1,
            "{}: stage {} stands twice", layout, stage);
  }
}

}  // namespace

void Layout::check(const Mesh& mesh) const {
  Axes used = stages.empty() ? Axes() : Axes(Axis::pipe);
  const auto use = [&](const Axes& axes, const char* what) {
    require(used.without(axes) == used, "{}: {} is used twice ({})", *this, axes, what);
    used = used.with(axes);
  };
  use(own, "own");
  bool is_flat = false;
  for (const Cut& cut : cuts) {
    check_cut(*this, cut, mesh);
    require(!is_flat || cut.dim == Cut::kFlat, "{}: cuts of dims go before those of elements",
            *this);
    is_flat |= cut.dim == Cut::kFlat;
    use(cut.axes, "cut");
    require(is_flat || cut.share || partial.without(cut.axes) == partial,
            "{}: dim {} is cut over {}, so no gradient is a part along it; take it out of partial",
            *this, cut.dim, cut.axes);
  }
  check_stages(*this, mesh);
}

Shape Layout::stored_shape(const Mesh& mesh) const {
  return own.empty() ? shape : with_first(mesh.size(own), shape);
}

std::vector<Box> Layout::boxes(const Mesh& mesh, int rank) const {
  check(mesh);
  if (!mesh.has(rank)) return {};
  const Coordinate at = mesh.coordinate(rank);
  if (!on_stage(*this, at)) return {};
  return stored_boxes(*this, mesh, at, share_of(*this, mesh, at));
}

std::vector<Box> Layout::owned_boxes(const Mesh& mesh, int rank) const {
  check(mesh);
  if (!mesh.has(rank)) return {};
  const Coordinate at = mesh.coordinate(rank);
  Axes different = cut_axes(*this).with(own);
  if (!stages.empty()) {
    if (at[Axis::pipe] != stages.front()) return {};
    different = different.with(Axis::pipe);
  }
  for (int axis = 0; axis < kAxes; ++axis)
    if (!different.has(Axis(axis)) && at[Axis(axis)] != 0) return {};
  const Share share = share_of(*this, mesh, at);
  return share.copy ? std::vector<Box>() : stored_boxes(*this, mesh, at, share);
}

int Layout::owner(const Mesh& mesh, const Shape& index) const {
  for (const int rank : mesh.ranks())
    for (const Box& box : owned_boxes(mesh, rank))
      if (box.has(index)) return rank;
  fail("{}: nobody owns the element {}", *this, index);
}

Axes Layout::grad_sum(const Mesh& mesh) const {
  Axes axes = partial;
  if (stages.size() > 1) axes = axes.with(Axis::pipe);
  for (const Cut& cut : cuts) {
    if (!cut.share || cut.dim == Cut::kFlat) continue;
    const int64_t units = (shape[cut.dim] + cut.unit - 1) / cut.unit;
    if (units < mesh.size(cut.axes)) axes = axes.with(cut.axes);
  }
  return axes.without(own);
}

Layout Layout::without_flat() const {
  Layout layout = *this;
  std::erase_if(layout.cuts, [](const Cut& cut) { return cut.dim == Cut::kFlat; });
  return layout;
}

std::vector<int> Layout::grad_group(const Mesh& mesh, int rank) const {
  const Layout whole_share = without_flat();
  const std::vector<Box> mine = whole_share.boxes(mesh, rank);
  if (mine.empty()) return {};
  std::vector<int> same;
  for (const int other : mesh.group(rank, grad_sum(mesh)))
    if (whole_share.boxes(mesh, other) == mine) same.push_back(other);
  return same;
}

std::string to_string(const Layout& layout) {
  std::string text = to_string(layout.shape);
  for (const Cut& cut : layout.cuts) {
    const std::string what = cut.dim == Cut::kFlat ? "elements" : format("dim {}", cut.dim);
    text += format(", {} over {}{}", what, cut.axes, cut.share ? " (shared)" : "");
  }
  for (size_t i = 0; i < layout.stages.size(); ++i)
    text += format("{}{}", i ? " and " : ", stage ", layout.stages[i]);
  if (!layout.own.empty()) text += format(", own along {}", layout.own);
  return text;
}

}  // namespace limpid
