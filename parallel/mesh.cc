#include "parallel/mesh.h"

#include <algorithm>
#include <numeric>

namespace limpid {
namespace {

// Sizes as the recipe's keys name them, outermost first.
std::string describe(const MeshConfig& c) {
  return format("island {} x pipe {} x data {} x context {} x tensor {}", c.island, c.pipe, c.data,
                c.context, c.tensor);
}

// The sizes along all axes; data = 0 becomes what the others leave of so many ranks.
std::array<int, kAxes> resolve_sizes(MeshConfig c, int64_t ranks) {
  for (const int64_t size : {c.island, c.pipe, c.context, c.tensor, c.depth, c.row})
    require(size >= 1 && size <= ranks, "a mesh of {} over {} ranks: each axis has from 1 to {}",
            describe(c), ranks, ranks);
  require(c.tensor % (c.depth * c.row) == 0,
          "tensor {} is no multiple of depth {} x row {}; set parallel.tensor to one", c.tensor,
          c.depth, c.row);
  const bool takes_rest = c.data == 0;
  const int64_t others = c.island * c.pipe * c.context * c.tensor;
  if (takes_rest) {
    require(ranks % others == 0,
            "parallel: island {} x pipe {} x context {} x tensor {} = {} does not divide {} ranks; "
            "start a multiple of {}, or set other sizes",
            c.island, c.pipe, c.context, c.tensor, others, ranks, others);
    c.data = ranks / others;
  }
  require(
      c.data >= 1 && c.data * others == ranks,
      "parallel: {} = {}, but there are {} ranks; start {}, or set parallel.data = 0 for as many "
      "as the other sizes leave",
      describe(c), c.data * others, ranks, c.data * others);
  const int64_t col = c.tensor / (c.depth * c.row);
  return {int(c.island), int(c.pipe), int(c.data), int(c.context),
          int(c.depth),  int(c.row),  int(col)};
}

std::vector<int> first_ranks(int count) {
  require(count >= 1, "a mesh needs at least one rank, not {}", count);
  std::vector<int> ranks(static_cast<size_t>(count));
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

}  // namespace

std::string to_string(Axis axis) {
  constexpr std::array<const char*, kAxes> kNames = {"island", "pipe", "data", "context",
                                                     "depth",  "row",  "col"};
  return kNames[size_t(axis)];
}

bool Axes::has(Axis axis) const { return std::find(begin(), end(), axis) != end(); }

void Axes::add(Axis axis) {
  require(!has(axis), "the axis {} stands twice in one list", axis);
  axes_[size_t(size_++)] = axis;
}

Axes Axes::with(const Axes& others) const {
  Axes all = *this;
  for (const Axis axis : others)
    if (!has(axis)) all.add(axis);
  return all;
}

Axes Axes::without(const Axes& others) const {
  Axes rest;
  for (const Axis axis : *this)
    if (!others.has(axis)) rest.add(axis);
  return rest;
}

std::string to_string(const Axes& axes) {
  const bool tensor = kTensor.without(axes).empty();
  std::string text;
  for (const Axis axis : axes) {
    if (tensor && (axis == Axis::depth || axis == Axis::row)) continue;
    if (!text.empty()) text += ", ";
    text += tensor && axis == Axis::col ? "tensor" : to_string(axis);
  }
  return text;
}

void MeshConfig::fields(Fields& f) {
  constexpr Range kCount = {1, 1 << 20};
  f.field("data", data, "replicas that share each batch; 0 means all ranks that the others leave",
          {0, 1 << 20});
  f.field("tensor", tensor, "ranks that each matrix is cut over", kCount);
  f.field("pipe", pipe, "stages that the blocks are cut into", kCount);
  f.field("context", context, "ranks that each sequence is cut over", kCount);
  f.field("island", island, "replicas that meet only every so many steps", kCount);
}

Mesh::Mesh(const MeshConfig& config, int ranks) : Mesh(config, first_ranks(ranks)) {}

Mesh::Mesh(const MeshConfig& config, std::vector<int> ranks)
    : sizes_(resolve_sizes(config, int64_t(ranks.size()))), ranks_(std::move(ranks)) {
  for (const int rank : ranks_) require(rank >= 0, "a mesh with rank {}: ranks begin at 0", rank);
  places_.assign(size_t(*std::max_element(ranks_.begin(), ranks_.end())) + 1, -1);
  for (size_t place = 0; place < ranks_.size(); ++place) {
    int& place_of_rank = places_[size_t(ranks_[place])];
    require(place_of_rank < 0, "rank {} stands twice in the mesh", ranks_[place]);
    place_of_rank = int(place);
  }
}

bool Mesh::has(int rank) const {
  return rank >= 0 && size_t(rank) < places_.size() && places_[size_t(rank)] >= 0;
}

int Mesh::size(const Axes& axes) const {
  int size = 1;
  for (const Axis axis : axes) size *= sizes_[size_t(axis)];
  return size;
}

int Mesh::index(const Coordinate& at, const Axes& axes) const {
  int index = 0;
  for (const Axis axis : axes) index = index * sizes_[size_t(axis)] + at[axis];
  return index;
}

Coordinate Mesh::coordinate(int rank) const {
  require(has(rank), "rank {} is idle: it is not on the mesh of {}", rank, *this);
  Coordinate at;
  int place = places_[size_t(rank)];
  for (size_t axis = kAxes; axis-- > 0; place /= sizes_[axis])
    at.index[axis] = place % sizes_[axis];
  return at;
}

int Mesh::rank(const Coordinate& at) const {
  int place = 0;
  for (size_t axis = 0; axis < kAxes; ++axis) {
    require(at.index[axis] >= 0 && at.index[axis] < sizes_[axis],
            "index {} along {} is not on the mesh of {}", at.index[axis], Axis(axis), *this);
    place = place * sizes_[axis] + at.index[axis];
  }
  return ranks_[size_t(place)];
}

std::vector<int> Mesh::group(int rank, const Axes& axes) const {
  Coordinate at = coordinate(rank);
  std::vector<int> members(size_t(size(axes)));
  for (size_t member = 0; member < members.size(); ++member) {
    int rest = int(member);
    for (const Axis* axis = axes.end(); axis-- != axes.begin(); rest /= sizes_[size_t(*axis)])
      at[*axis] = rest % sizes_[size_t(*axis)];
    members[member] = this->rank(at);
  }
  return members;
}

std::vector<std::vector<int>> Mesh::groups(const Axes& axes) const {
  std::vector<std::vector<int>> all;
  for (const int rank : ranks_)
    if (index(rank, axes) == 0) all.push_back(group(rank, axes));
  return all;
}

std::string to_string(const Mesh& mesh) {
  const int tensor = mesh.size(kTensor);
  std::string text =
      format("island {} x pipe {} x data {} x context {} x tensor {}", mesh.size(Axis::island),
             mesh.size(Axis::pipe), mesh.size(Axis::data), mesh.size(Axis::context), tensor);
  if (mesh.size(Axis::col) != tensor)
    text += format(" (depth {} x row {} x col {})", mesh.size(Axis::depth), mesh.size(Axis::row),
                   mesh.size(Axis::col));
  return text;
}

}  // namespace limpid
