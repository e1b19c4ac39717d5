#include "parallel/box.h"

#include <gmock/gmock.h>

#include "tests/parallel/random_layout.h"

namespace limpid {
namespace {

using testing::ElementsAre;

Box random_box(Dice& dice, const Shape& shape) {
  Box box = whole(shape);
  for (int i = 0; i < shape.rank(); ++i) {
    box.begin[i] = pick(dice, 0, int(shape[i]) - 1);
    box.end[i] = pick(dice, int(box.begin[i]) + 1, int(shape[i]));
  }
  return box;
}

TEST(Box, FlatRangeIsFewBoxes) {
  const Box box = whole({4, 10});
  EXPECT_THAT(flat_range(box, 0, 40), ElementsAre(box));
  EXPECT_THAT(flat_range(box, 7, 7), ElementsAre());
  EXPECT_THAT(flat_range(box, 3, 8), ElementsAre(Box{{0, 3}, {1, 8}}));
  EXPECT_THAT(flat_range(box, 5, 35),
              ElementsAre(Box{{0, 5}, {1, 10}}, Box{{1, 0}, {3, 10}}, Box{{3, 0}, {4, 5}}));
  EXPECT_THAT(flat_range(box, 5, 12), ElementsAre(Box{{0, 5}, {1, 10}}, Box{{1, 0}, {2, 2}}));
  EXPECT_THAT(flat_range(whole({}), 0, 1), ElementsAre(whole({})));
  EXPECT_THAT(flat_range(whole({3, 0, 2}), 0, 0), ElementsAre());
  EXPECT_EQ(to_string(flat_range(box, 3, 8)[0]), "[0:1, 3:8]");
}

TEST(Box, FlatRangeIsThoseElementsInThatOrder) {
  Dice dice(2);
  for (int round = 0; round < 2000; ++round) {
    const Shape shape = random_shape(dice);
    const Box box = random_box(dice, shape);
    const std::vector<int64_t> all = numbers({box}, shape);
    const int begin = pick(dice, 0, int(all.size())), end = pick(dice, begin, int(all.size()));
    const std::vector<Box> boxes = flat_range(box, begin, end);
    EXPECT_EQ(numbers(boxes, shape), std::vector<int64_t>(all.begin() + begin, all.begin() + end));
    EXPECT_EQ(numel(boxes), end - begin);
    EXPECT_LE(int(boxes.size()), std::max(1, 2 * shape.rank() - 1));
  }
}

TEST(Box, DifferenceAndIntersectionMakeTheBox) {
  Dice dice(3);
  for (int round = 0; round < 2000; ++round) {
    const Shape shape = random_shape(dice);
    const Box a = random_box(dice, shape), b = random_box(dice, shape);
    std::vector<Box> parts = difference(a, b);
    for (const Box& part : parts) EXPECT_EQ(intersection(part, b).numel(), 0);
    const Box both = intersection(a, b);
    EXPECT_EQ(both, intersection(b, a));
    if (both.numel() > 0) parts.push_back(both);
    std::vector<int64_t> found = numbers(parts, shape);
    std::sort(found.begin(), found.end());
    EXPECT_EQ(found, numbers({a}, shape));
  }
}

// Both sides hold parts of a tensor whose elements are their own numbers.
TEST(Box, CopiesWhatBothSidesHave) {
  Dice dice(4);
  for (int round = 0; round < 1000; ++round) {
    const Shape shape = random_shape(dice);
    const auto some = [&] {
      const Box box = random_box(dice, shape);
      return flat_range(box, pick(dice, 0, 2), std::max<int64_t>(0, box.numel() - 1));
    };
    const std::vector<Box> from = some(), to = some();
    const Box box = random_box(dice, shape);
    const std::vector<int64_t> source = numbers(from, shape), place = numbers(to, shape);
    std::vector<int64_t> copied(place.size(), -1);
    copy_box(copied.data(), to, source.data(), from, box, sizeof(int64_t));
    const std::vector<int64_t> wanted = numbers({box}, shape);
    const auto in = [](const std::vector<int64_t>& list, int64_t number) {
      return std::find(list.begin(), list.end(), number) != list.end();
    };
    for (size_t i = 0; i < place.size(); ++i)
      EXPECT_EQ(copied[i], in(source, place[i]) && in(wanted, place[i]) ? place[i] : -1);
  }
}

}  // namespace
}  // namespace limpid
