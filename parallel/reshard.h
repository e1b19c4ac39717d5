#pragma once

#include <vector>

#include "parallel/layout.h"

namespace limpid {

// Elements of one tensor that go from rank to rank.
struct Move {
  int from = 0;
  int to = 0;
  Box box;
};

// What brings one tensor from layout A on mesh A to layout B on mesh B.
struct Reshard {
  // In an order in which all ranks can do their own sends and receives, waiting for each: every
  // element of B that its rank does not have yet comes once, from its owner in A.
  std::vector<Move> moves;
  // What each rank has under A already (from = to) and copies to where B has it.
  std::vector<Move> kept;
};

// Ranks have the same numbers in both meshes. Throws Error where the tensors differ in shape.
Reshard reshard(const Layout& a, const Mesh& mesh_a, const Layout& b, const Mesh& mesh_b);

}  // namespace limpid
