#include "parallel/reshard.h"

#include <algorithm>

namespace limpid {
namespace {

// Those ranks' boxes that are not empty, by rank.
std::vector<Move> owned_by_rank(const Layout& layout, const Mesh& mesh) {
  std::vector<int> ranks = mesh.ranks();
  std::sort(ranks.begin(), ranks.end());
  std::vector<Move> owned;
  for (const int rank : ranks)
    for (const Box& box : layout.owned_boxes(mesh, rank)) owned.push_back({rank, rank, box});
  return owned;
}

// What `need` lacks of `have` goes to `missing`, what they share to `kept`.
void divide(const Box& need, const std::vector<Box>& have, std::vector<Box>& missing,
            std::vector<Box>& kept) {
  missing = {need};
  for (const Box& held : have) {
    const Box both = intersection(need, held);
    if (both.numel() > 0) kept.push_back(both);
    std::vector<Box> rest;
    for (const Box& box : missing)
      for (const Box& part : difference(box, held)) rest.push_back(part);
    missing = std::move(rest);
  }
}

}  // namespace

Reshard reshard(const Layout& a, const Mesh& mesh_a, const Layout& b, const Mesh& mesh_b) {
  require(a.stored_shape(mesh_a) == b.stored_shape(mesh_b),
          "a tensor cannot go from {} to {}: it is {} there and {} here", a, b,
          a.stored_shape(mesh_a), b.stored_shape(mesh_b));
  const std::vector<Move> owned = owned_by_rank(a, mesh_a);
  std::vector<int> ranks = mesh_b.ranks();
  std::sort(ranks.begin(), ranks.end());
  Reshard plan;
  for (const int rank : ranks) {
    const std::vector<Box> have = a.boxes(mesh_a, rank);
    for (const Box& need : b.boxes(mesh_b, rank)) {
      std::vector<Box> missing, kept;
      divide(need, have, missing, kept);
      for (const Box& box : kept) plan.kept.push_back({rank, rank, box});
      if (missing.empty()) continue;
      for (const Move& source : owned) {
        for (const Box& box : missing) {
          const Box both = intersection(box, source.box);
          if (both.numel() > 0) plan.moves.push_back({source.from, rank, both});
        }
      }
    }
  }
  return plan;
}

}  // namespace limpid
