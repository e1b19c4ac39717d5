#include "parallel/mesh.h"

#include <gmock/gmock.h>

#include <random>
#include <set>

#include "tests/parallel/random_layout.h"

namespace limpid {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string error_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(Mesh, NeighboursAlongTheLastAxisAreNeighbours) {
  const Mesh mesh({.data = 2, .tensor = 2, .pipe = 2}, 8);
  EXPECT_EQ(to_string(mesh), "island 1 x pipe 2 x data 2 x context 1 x tensor 2");
  EXPECT_THAT(mesh.group(5, kTensor), ElementsAre(4, 5));
  EXPECT_THAT(mesh.group(5, Axis::data), ElementsAre(5, 7));
  EXPECT_THAT(mesh.group(5, Axis::pipe), ElementsAre(1, 5));
  EXPECT_THAT(mesh.group(5, Axis::island), ElementsAre(5));
  EXPECT_THAT(mesh.group(6, Axes(Axis::data).with(kTensor)), ElementsAre(4, 5, 6, 7));
  const Coordinate at = mesh.coordinate(5);
  EXPECT_EQ(at[Axis::pipe], 1);
  EXPECT_EQ(at[Axis::data], 0);
  EXPECT_EQ(at[Axis::col], 1);
  EXPECT_EQ(mesh.index(5, kTensor), 1);
}

TEST(Mesh, TensorHasFactors) {
  const Mesh mesh({.tensor = 8, .depth = 2, .row = 2}, 8);
  EXPECT_EQ(mesh.size(kTensor), 8);
  EXPECT_EQ(mesh.size(Axis::col), 2);
  EXPECT_EQ(mesh.index(6, kTensor), 6);
  EXPECT_THAT(mesh.group(6, Axis::row), ElementsAre(4, 6));
  EXPECT_THAT(mesh.group(6, Axis::depth), ElementsAre(2, 6));
  EXPECT_THAT(to_string(mesh), HasSubstr("tensor 8 (depth 2 x row 2 x col 2)"));
}

TEST(Mesh, AGroupIsInTheOrderOfItsAxes) {
  const Mesh mesh({.data = 2, .tensor = 2}, 4);
  EXPECT_THAT(mesh.group(0, {Axis::data, Axis::col}), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(mesh.group(0, {Axis::col, Axis::data}), ElementsAre(0, 2, 1, 3));
  EXPECT_EQ(mesh.index(1, {Axis::col, Axis::data}), 2);
}

TEST(Mesh, RanksMayBePermutedAndIdle) {
  const Mesh mesh({.data = 1, .tensor = 2, .pipe = 2}, std::vector<int>{7, 2, 0, 5});
  EXPECT_THAT(mesh.group(7, kTensor), ElementsAre(7, 2));
  EXPECT_THAT(mesh.group(2, Axis::pipe), ElementsAre(2, 5));
  EXPECT_TRUE(mesh.has(5));
  for (const int rank : {-1, 1, 6, 8}) EXPECT_FALSE(mesh.has(rank));
  EXPECT_THAT(error_of([&] { (void)mesh.coordinate(1); }), HasSubstr("rank 1 is idle"));
}

TEST(Mesh, DataTakesTheRest) {
  EXPECT_EQ(Mesh({}, 6).size(Axis::data), 6);
  EXPECT_EQ(Mesh({.pipe = 3}, 6).size(Axis::data), 2);
  EXPECT_EQ(Mesh().size(Axis::data), 1);
}

TEST(Mesh, SizesMustMakeUpTheNumberOfRanks) {
  EXPECT_THAT(error_of([] { Mesh({.data = 2, .tensor = 2}, 8); }),
              HasSubstr("island 1 x pipe 1 x data 2 x context 1 x tensor 2 = 4, but there are 8 "
                        "ranks; start 4"));
  EXPECT_THAT(error_of([] { Mesh({.tensor = 2, .pipe = 2}, 6); }),
              HasSubstr("island 1 x pipe 2 x context 1 x tensor 2 = 4 does not divide 6 ranks"));
  EXPECT_THAT(error_of([] { Mesh({.tensor = 4, .row = 3}, 4); }),
              HasSubstr("no multiple of depth"));
  EXPECT_THAT(error_of([] { Mesh({.pipe = 0}, 4); }), HasSubstr("each axis has from 1"));
  EXPECT_THAT(error_of([] { Mesh({.pipe = 8}, 4); }), HasSubstr("each axis has from 1 to 4"));
  EXPECT_THAT(error_of([] { Mesh({}, 0); }), HasSubstr("at least one rank"));
  EXPECT_THAT(error_of([] {
                Mesh({}, std::vector<int>{3, 1, 3});
              }),
              HasSubstr("rank 3 stands twice"));
  EXPECT_THAT(error_of([] { Mesh({}, std::vector<int>{3, -1}); }), HasSubstr("rank -1"));
}

TEST(Mesh, KeysAreThoseOfARecipe) {
  std::set<std::string> keys;
  for (const Entry& entry : list_entries(MeshConfig{})) keys.insert(entry.key);
  EXPECT_THAT(keys, ElementsAre("context", "data", "island", "pipe", "tensor"));
}

TEST(Mesh, AxesAreEachOnce) {
  EXPECT_THROW((Axes{Axis::data, Axis::data}), Error);
  EXPECT_EQ(kTensor.without(Axis::row), (Axes{Axis::depth, Axis::col}));
  EXPECT_EQ(Axes(Axis::col).with(kTensor), (Axes{Axis::col, Axis::depth, Axis::row}));
  EXPECT_EQ(to_string(Axes(Axis::data).with(kTensor)), "data, tensor");
  EXPECT_EQ(to_string(Axes{Axis::row, Axis::col}), "row, col");
}

TEST(Mesh, GroupsPartTheRanks) {
  Dice dice(1);
  for (int round = 0; round < 200; ++round) {
    const Mesh mesh = random_mesh(dice, pick(dice, 1, 2));
    Axes axes;
    for (int i = pick(dice, 0, 4); i > 0; --i) axes = axes.with(Axis(pick(dice, 0, kAxes - 1)));
    std::multiset<int> seen;
    for (const std::vector<int>& group : mesh.groups(axes)) {
      EXPECT_EQ(int(group.size()), mesh.size(axes));
      for (size_t i = 0; i < group.size(); ++i) {
        EXPECT_EQ(mesh.index(group[i], axes), int(i));
        EXPECT_EQ(mesh.group(group[i], axes), group);
        EXPECT_EQ(mesh.rank(mesh.coordinate(group[i])), group[i]);
        seen.insert(group[i]);
      }
    }
    EXPECT_EQ(seen, std::multiset<int>(mesh.ranks().begin(), mesh.ranks().end()));
  }
}

}  // namespace
}  // namespace limpid
