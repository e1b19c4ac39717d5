#pragma once

#include <string>
#include <vector>

#include "parallel/box.h"
#include "parallel/mesh.h"

namespace limpid {

// One cut of a tensor, or of what the cuts before it left, into a part for each index along axes.
struct Cut {
  static constexpr int kFlat = -1;  // cut the row-major elements instead of a dim: ZeRO

  int dim = 0;
  Axes axes = {};
  int64_t unit = 1;  // no part begins inside of one: the channels of a head, a cache line
  // With fewer units than parts, neighbours hold the same one: kv heads. Otherwise some parts would
  // be empty.
  bool share = false;
  // Where each part ends, counted from the start of what is cut; past its end means at its end.
  // None: as even as units allow, the larger first.
  std::vector<int64_t> ends = {};
};

// How one named tensor lies on a mesh: a pure function from a rank to the boxes that it holds. A
// value; it knows no sizes of a mesh, so one Layout serves every mesh. Boxes are those of the
// logical tensor: padding is the business of buffers. A rank's memory is its boxes one after
// another, each row-major.
struct Layout {
  Shape shape;  // logical
  // From the left; those of dims before those of elements. Along other axes ranks hold the same.
  std::vector<Cut> cuts = {};
  // Indices along pipe that hold it, the owner first; two for a tied tensor. None: all of them.
  std::vector<int> stages = {};
  // Axes along which values differ. They are stored as one more dim, the first, that no rank holds
  // more than one index of.
  Axes own = {};
  // Axes along which each rank's gradient is only its part of the sum. Norm weights under sequence
  // parallelism have kTensor as well.
  Axes partial = {Axis::data, Axis::context};

  // Throws Error where the layout contradicts itself or this mesh. The others do so too.
  void check(const Mesh&) const;
  // shape with the dim of `own` before it.
  Shape stored_shape(const Mesh&) const;
  // What a rank holds, in stored_shape; nothing where it is idle or of another stage.
  std::vector<Box> boxes(const Mesh&, int rank) const;
  // The same, but of ranks that hold the same elements only the first has them: index 0 along axes
  // that make no difference.
  std::vector<Box> owned_boxes(const Mesh&, int rank) const;
  // The rank that owns the element at this index of stored_shape.
  int owner(const Mesh&, const Shape& index) const;

  // Axes along which gradients are to be summed: partial, pipe for a tensor of several stages, and
  // the axes along which neighbours share units; without own.
  Axes grad_sum(const Mesh&) const;
  // The ranks whose gradients sum to that of the elements that `rank` computes with (cuts of
  // elements do not count), by their index along grad_sum(): kv heads meet only those that share
  // theirs. None where the rank does not have the tensor.
  std::vector<int> grad_group(const Mesh&, int rank) const;
  // This layout but for its cuts of elements: what a rank computes with.
  Layout without_flat() const;
};
std::string to_string(const Layout&);  // "(50257, 64), dim 0 over tensor, elements over data"

}  // namespace limpid
