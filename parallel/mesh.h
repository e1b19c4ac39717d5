#pragma once

#include <array>
#include <string>
#include <vector>

#include "core/fields.h"

namespace limpid {

// The axes of a mesh, outermost first. The last three are the factors of the tensor axis, kTensor:
// in 1D depth = row = 1, in 2D depth = 1.
enum class Axis : uint8_t { island, pipe, data, context, depth, row, col };
inline constexpr int kAxes = 7;
std::string to_string(Axis);

// Some axes, each once, in an order: the first is the outermost where indices along them are
// counted as one.
class Axes {
 public:
  Axes() = default;
  Axes(Axis axis) : Axes({axis}) {}
  Axes(std::initializer_list<Axis> axes) {
    for (const Axis axis : axes) add(axis);
  }

  const Axis* begin() const { return axes_.data(); }
  const Axis* end() const { return axes_.data() + size_; }
  bool empty() const { return size_ == 0; }
  bool has(Axis) const;
  // These, then those of the other that are not among them.
  Axes with(const Axes&) const;
  Axes without(const Axes&) const;
  bool operator==(const Axes&) const = default;

 private:
  void add(Axis);
  std::array<Axis, kAxes> axes_ = {};
  int size_ = 0;
};
std::string to_string(const Axes&);  // "data, tensor"

inline const Axes kTensor = {Axis::depth, Axis::row, Axis::col};

// How many ranks there are along each axis.
struct MeshConfig {
  int64_t data = 0;  // 0: as many as the other axes leave
  int64_t tensor = 1;
  int64_t pipe = 1;
  int64_t context = 1;
  int64_t island = 1;
  // tensor = depth x row x col. No keys of a recipe: what multiplies in 2D, 2.5D or 3D sets them.
  int64_t depth = 1;
  int64_t row = 1;

  void fields(Fields&);
};

// Where a rank stands: its index along each axis, from 0.
struct Coordinate {
  std::array<int, kAxes> index = {};

  int operator[](Axis axis) const { return index[size_t(axis)]; }
  int& operator[](Axis axis) { return index[size_t(axis)]; }
  bool operator==(const Coordinate&) const = default;
};

// Ranks on named axes: any permutation of any subset of them; the others are idle.
class Mesh {
 public:
  Mesh() : Mesh(MeshConfig{}, 1) {}
  // Ranks 0 .. ranks - 1 in order: neighbours along col are neighbours. Throws Error where the
  // sizes do not make up that number.
  Mesh(const MeshConfig&, int ranks);
  // These ranks, in the order of the coordinates.
  Mesh(const MeshConfig&, std::vector<int> ranks);

  // In the order of their coordinates.
  const std::vector<int>& ranks() const { return ranks_; }
  bool has(int rank) const;  // false: it is idle
  // How many there are along axes that are counted as one, and the index along them.
  int size(const Axes&) const;
  int index(const Coordinate&, const Axes&) const;
  int index(int rank, const Axes& axes) const { return index(coordinate(rank), axes); }

  // Throw Error where a rank is idle, or the coordinate is not on the mesh.
  Coordinate coordinate(int rank) const;
  int rank(const Coordinate&) const;
  // The ranks that differ from this one along these axes only, by their index along them.
  std::vector<int> group(int rank, const Axes&) const;
  // All such groups. Each rank of the mesh is in one.
  std::vector<std::vector<int>> groups(const Axes&) const;

 private:
  std::array<int, kAxes> sizes_ = {};
  std::vector<int> ranks_;
  std::vector<int> places_;  // of each rank in ranks_, -1 where it is idle
};
std::string to_string(const Mesh&);  // "island 1 x pipe 2 x data 2 x context 1 x tensor 2"

}  // namespace limpid
