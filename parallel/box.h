#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace limpid {

// A rectangular part of a tensor: indices from begin to end in each dim, end not included. A scalar
// has one box, without dims.
struct Box {
  Shape begin = {}, end = {};

  Shape shape() const;
  int64_t numel() const { return shape().numel(); }
  bool has(const Shape& index) const;
  bool operator==(const Box&) const = default;
};
std::string to_string(const Box&);  // "[0:2, 16:32]"

// All of a tensor.
Box whole(const Shape&);
// What two boxes share; numel() is 0 where they share nothing.
Box intersection(const Box&, const Box&);
// `box` without what it shares with `other`, as boxes that do not overlap.
std::vector<Box> difference(const Box& box, const Box& other);
// Elements [begin, end) of the box, counted row-major, as few boxes, in that order.
std::vector<Box> flat_range(const Box&, int64_t begin, int64_t end);

// Elements of all boxes.
int64_t numel(std::span<const Box>);
// Copies the elements of `box` that both sides have. Each side's memory is its boxes one after
// another.
void copy_box(void* to, std::span<const Box> to_boxes, const void* from,
              std::span<const Box> from_boxes, const Box& box, int64_t element_bytes);

}  // namespace limpid
