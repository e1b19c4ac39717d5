#include "parallel/box.h"

#include <algorithm>
#include <cstring>

namespace limpid {
namespace {

// Elements of `box` among row-major memory of `around`, up to the first element of a row of box.
int64_t offset_of(const Shape& index, const Box& around) {
  int64_t offset = 0;
  for (int i = 0; i < index.rank(); ++i)
    offset = offset * (around.end[i] - around.begin[i]) + index[i] - around.begin[i];
  return offset;
}

// The next index of all dims but the last; false past the last row.
bool next_row(Shape& index, const Box& box) {
  for (int i = index.rank() - 2; i >= 0; --i) {
    if (++index[i] < box.end[i]) return true;
    index[i] = box.begin[i];
  }
  return false;
}

void copy_rows(std::byte* to, const Box& to_box, const std::byte* from, const Box& from_box,
               const Box& box, int64_t element_bytes) {
  const int rank = box.begin.rank();
  const int64_t row = rank ? box.end[-1] - box.begin[-1] : 1;
  Shape index = box.begin;
  do {
    std::memcpy(to + offset_of(index, to_box) * element_bytes,
                from + offset_of(index, from_box) * element_bytes, size_t(row * element_bytes));
  } while (next_row(index, box));
}

}  // namespace

Shape Box::shape() const {
  Shape shape = end;
  for (int i = 0; i < shape.rank(); ++i) shape[i] = std::max<int64_t>(0, end[i] - begin[i]);
  return shape;
}

bool Box::has(const Shape& index) const {
  for (int i = 0; i < begin.rank(); ++i)
    if (index[i] < begin[i] || index[i] >= end[i]) return false;
  return true;
}

std::string to_string(const Box& box) {
  std::string text = "[";
  for (int i = 0; i < box.begin.rank(); ++i)
    text += format("{}{}:{}", i ? ", " : "", box.begin[i], box.end[i]);
  return text + "]";
}

Box whole(const Shape& shape) {
  Box box{.begin = shape, .end = shape};
  for (int i = 0; i < shape.rank(); ++i) box.begin[i] = 0;
  return box;
}

Box intersection(const Box& a, const Box& b) {
  Box both = a;
  for (int i = 0; i < a.begin.rank(); ++i) {
    both.begin[i] = std::max(a.begin[i], b.begin[i]);
    both.end[i] = std::min(a.end[i], b.end[i]);
  }
  return both;
}

// Dim by dim: what lies before and behind the other; the rest is inside of it so far.
std::vector<Box> difference(const Box& box, const Box& other) {
  const Box both = intersection(box, other);
  if (both.numel() == 0) return {box};
  std::vector<Box> rest;
  Box inside = box;
  for (int i = 0; i < box.begin.rank(); ++i) {
    Box before = inside, behind = inside;
    before.end[i] = inside.begin[i] = both.begin[i];
    behind.begin[i] = inside.end[i] = both.end[i];
    for (const Box& part : {before, behind})
      if (part.numel() > 0) rest.push_back(part);
  }
  return rest;
}

// From the outermost dim inwards: the end of a first slice, whole slices, the start of a last one.
std::vector<Box> flat_range(const Box& box, int64_t begin, int64_t end) {
  std::vector<Box> boxes;
  if (begin >= end) return boxes;
  const auto cut = [&](const auto& self, Box in, int dim, int64_t from, int64_t to) -> void {
    if (from >= to) return;
    int64_t slice = 1;  // elements of one index of this dim
    for (int i = dim + 1; i < in.begin.rank(); ++i) slice *= in.end[i] - in.begin[i];
    if (dim >= in.begin.rank() || (from == 0 && to == slice * (in.end[dim] - in.begin[dim]))) {
      boxes.push_back(in);
      return;
    }
    const int64_t start = in.begin[dim], first = from / slice, last = (to - 1) / slice;
    const auto slices = [&](int64_t i, int64_t j) {
      Box some = in;
      some.begin[dim] = start + i;
      some.end[dim] = start + j;
      return some;
    };
    if (first == last)
      return self(self, slices(first, first + 1), dim + 1, from - first * slice,
                  to - first * slice);
    const int64_t whole_begin = (from + slice - 1) / slice, whole_end = to / slice;
    if (first < whole_begin)
      self(self, slices(first, first + 1), dim + 1, from - first * slice, slice);
    if (whole_begin < whole_end) boxes.push_back(slices(whole_begin, whole_end));
    if (whole_end <= last) self(self, slices(last, last + 1), dim + 1, 0, to - last * slice);
  };
  cut(cut, box, 0, begin, end);
  return boxes;
}

int64_t numel(std::span<const Box> boxes) {
  int64_t count = 0;
  for (const Box& box : boxes) count += box.numel();
  return count;
}

void copy_box(void* to, std::span<const Box> to_boxes, const void* from,
              std::span<const Box> from_boxes, const Box& box, int64_t element_bytes) {
  auto* into = static_cast<std::byte*>(to);
  for (const Box& to_box : to_boxes) {
    const Box wanted = intersection(box, to_box);
    const auto* out_of = static_cast<const std::byte*>(from);
    for (const Box& from_box : from_boxes) {
      const Box both = intersection(wanted, from_box);
      if (both.numel() > 0) copy_rows(into, to_box, out_of, from_box, both, element_bytes);
      out_of += from_box.numel() * element_bytes;
    }
    into += to_box.numel() * element_bytes;
  }
}

}  // namespace limpid
