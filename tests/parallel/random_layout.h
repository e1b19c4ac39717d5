#pragma once

#include <algorithm>
#include <numeric>
#include <random>

#include "parallel/layout.h"

namespace limpid {

using Dice = std::mt19937;

inline int pick(Dice& dice, int from, int to) {
  return std::uniform_int_distribution<int>(from, to)(dice);
}

// Sizes of 1 to 3 along every axis, up to 24 ranks, on random ones of 0 .. count + 3.
inline Mesh random_mesh(Dice& dice, int64_t island = 1) {
  MeshConfig c{.data = 1, .island = island};
  int64_t count = island;
  for (int64_t* size : {&c.pipe, &c.data, &c.context, &c.depth, &c.row, &c.tensor}) {
    const int64_t n = pick(dice, 1, 3);
    if (count * n > 24) continue;
    *size = n;
    count *= n;
  }
  c.tensor *= c.depth * c.row;
  std::vector<int> ranks(size_t(count) + 4);
  std::iota(ranks.begin(), ranks.end(), 0);
  std::shuffle(ranks.begin(), ranks.end(), dice);
  ranks.resize(size_t(count));
  return {c, ranks};
}

// Ends of parts that need not be even; some parts are empty.
inline std::vector<int64_t> random_ends(Dice& dice, int parts, int64_t extent) {
  std::vector<int64_t> ends;
  for (int i = 0; i < parts; ++i) ends.push_back(pick(dice, 0, int(extent)));
  std::sort(ends.begin(), ends.end());
  ends.back() = extent;
  return ends;
}

// Every axis but those given is free, cuts a dim, cuts elements, or (pipe) chooses stages.
inline Layout random_layout(Dice& dice, const Mesh& mesh, const Shape& shape, const Axes& own) {
  Layout layout{.shape = shape, .own = own, .partial = {}};
  std::vector<Axis> axes;
  for (int axis = 0; axis < kAxes; ++axis)
    if (!own.has(Axis(axis))) axes.push_back(Axis(axis));
  std::shuffle(axes.begin(), axes.end(), dice);
  std::vector<Cut> flat;
  for (const Axis axis : axes) {
    const int kind = pick(dice, 0, 3);
    if (kind == 0 && shape.rank() > 0) {
      Cut cut{.dim = pick(dice, 0, shape.rank() - 1), .axes = axis};
      if (!layout.cuts.empty() && pick(dice, 0, 3) == 0) {
        layout.cuts.back().axes = layout.cuts.back().axes.with(axis);
        layout.cuts.back().ends.clear();
        layout.cuts.back().share = false;
        continue;
      }
      const int form = pick(dice, 0, 3);
      if (form == 0) cut.unit = pick(dice, 1, 3);
      if (form == 1) cut.ends = random_ends(dice, mesh.size(axis), shape[cut.dim]);
      if (form == 2) cut.share = shape[cut.dim] == 1;
      layout.cuts.push_back(cut);
    } else if (kind == 1) {
      flat.push_back({.dim = Cut::kFlat, .axes = axis, .unit = pick(dice, 1, 4)});
      if (pick(dice, 0, 2) == 0)
        flat.back() = {.dim = Cut::kFlat,
                       .axes = axis,
                       .ends = random_ends(dice, mesh.size(axis), shape.numel())};
    } else if (kind == 2 && axis == Axis::pipe) {
      layout.stages = {pick(dice, 0, mesh.size(axis) - 1)};
      const int other = pick(dice, 0, mesh.size(axis) - 1);
      if (other != layout.stages[0]) layout.stages.push_back(other);
    }
  }
  layout.cuts.insert(layout.cuts.end(), flat.begin(), flat.end());
  return layout;
}

inline Shape random_shape(Dice& dice) {
  Shape shape;
  for (int dims = pick(dice, 0, 4); dims > 0; --dims) shape.append(pick(dice, 1, 6));
  return shape;
}

// The row-major numbers, in the whole tensor, of the elements of the boxes: what memory holds where
// every element's value is its own number.
inline std::vector<int64_t> numbers(const std::vector<Box>& boxes, const Shape& shape) {
  std::vector<int64_t> all;
  for (const Box& box : boxes) {
    const Shape size = box.shape();
    for (int64_t i = 0; i < box.numel(); ++i) {
      int64_t rest = i, number = 0, stride = 1;
      for (int dim = shape.rank() - 1; dim >= 0; --dim) {
        number += (box.begin[dim] + rest % size[dim]) * stride;
        rest /= size[dim];
        stride *= shape[dim];
      }
      all.push_back(number);
    }
  }
  return all;
}

}  // namespace limpid
