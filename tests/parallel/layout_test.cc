#include "parallel/layout.h"

#include <gmock/gmock.h>

#include <functional>

#include "tests/parallel/random_layout.h"

namespace limpid {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string error_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(Layout, UncutIsWholeOnEveryRankAndTheFirstOwnsIt) {
  const Mesh mesh({.data = 2, .tensor = 2}, 4);
  const Layout layout{.shape = {3, 5}};
  for (const int rank : mesh.ranks())
    EXPECT_THAT(layout.boxes(mesh, rank), ElementsAre(whole({3, 5})));
  EXPECT_THAT(layout.owned_boxes(mesh, 0), ElementsAre(whole({3, 5})));
  for (const int rank : {1, 2, 3}) EXPECT_THAT(layout.owned_boxes(mesh, rank), IsEmpty());
  EXPECT_EQ(layout.owner(mesh, {2, 4}), 0);
}

// A vocabulary that does not divide: 50257 over 4.
TEST(Layout, PartsAreAsEvenAsTheyCanBe) {
  const Mesh mesh({.tensor = 4}, 4);
  const Layout layout{.shape = {50257, 8}, .cuts = {{.dim = 0, .axes = kTensor}}};
  EXPECT_THAT(layout.boxes(mesh, 0), ElementsAre(Box{{0, 0}, {12565, 8}}));
  EXPECT_THAT(layout.boxes(mesh, 1), ElementsAre(Box{{12565, 0}, {25129, 8}}));
  EXPECT_THAT(layout.boxes(mesh, 3), ElementsAre(Box{{37693, 0}, {50257, 8}}));
  EXPECT_EQ(layout.owner(mesh, {50256, 0}), 3);
  EXPECT_EQ(to_string(layout), "(50257, 8), dim 0 over tensor");
}

TEST(Layout, UnitsStayWhole) {
  const Mesh mesh({.tensor = 3}, 3);
  // 4 heads of 10 channels and a rest of 5.
  const Layout layout{.shape = {45}, .cuts = {{.dim = 0, .axes = kTensor, .unit = 10}}};
  EXPECT_THAT(layout.boxes(mesh, 0), ElementsAre(Box{{0}, {20}}));
  EXPECT_THAT(layout.boxes(mesh, 1), ElementsAre(Box{{20}, {40}}));
  EXPECT_THAT(layout.boxes(mesh, 2), ElementsAre(Box{{40}, {45}}));
}

TEST(Layout, EmptyPartsAreNoBoxes) {
  const Mesh mesh({.tensor = 4}, 4);
  const Layout layout{.shape = {2}, .cuts = {{.dim = 0, .axes = kTensor}}};
  EXPECT_THAT(layout.boxes(mesh, 1), ElementsAre(Box{{1}, {2}}));
  EXPECT_THAT(layout.boxes(mesh, 2), IsEmpty());
}

TEST(Layout, EndsMayBeUneven) {
  const Mesh mesh({.data = 3}, 3);
  const Layout layout{.shape = {10},
                      .cuts = {{.dim = Cut::kFlat, .axes = Axis::data, .ends = {7, 7, 12}}}};
  EXPECT_THAT(layout.boxes(mesh, 0), ElementsAre(Box{{0}, {7}}));
  EXPECT_THAT(layout.boxes(mesh, 1), IsEmpty());
  EXPECT_THAT(layout.boxes(mesh, 2), ElementsAre(Box{{7}, {10}}));
}

// 3D cuts one dim twice: gathering over the inner axis gives the cut over the outer.
TEST(Layout, CutsNest) {
  const Mesh mesh({.tensor = 8, .depth = 2, .row = 2}, 8);
  const Layout layout{.shape = {7, 4},
                      .cuts = {{.dim = 0, .axes = Axis::col},
                               {.dim = 0, .axes = Axis::depth},
                               {.dim = 1, .axes = Axis::row}}};
  const auto rows = [&](int depth, int col) {
    Coordinate at;
    at[Axis::depth] = depth;
    at[Axis::col] = col;
    return layout.boxes(mesh, mesh.rank(at)).at(0);
  };
  EXPECT_EQ(rows(0, 0), (Box{{0, 0}, {2, 2}}));
  EXPECT_EQ(rows(1, 0), (Box{{2, 0}, {4, 2}}));
  EXPECT_EQ(rows(0, 1), (Box{{4, 0}, {6, 2}}));
  EXPECT_EQ(rows(1, 1), (Box{{6, 0}, {7, 2}}));
}

TEST(Layout, ZeroCutsElements) {
  const Mesh mesh({.data = 3, .tensor = 2}, 6);
  const Layout layout{
      .shape = {4, 10},
      .cuts = {{.dim = 0, .axes = kTensor}, {.dim = Cut::kFlat, .axes = Axis::data, .unit = 4}}};
  // Tensor rank 1 has rows 2 and 3, 20 elements: 8, 8, 4.
  EXPECT_THAT(layout.boxes(mesh, 1), ElementsAre(Box{{2, 0}, {3, 8}}));
  EXPECT_THAT(layout.boxes(mesh, 3), ElementsAre(Box{{2, 8}, {3, 10}}, Box{{3, 0}, {4, 6}}));
  EXPECT_THAT(layout.boxes(mesh, 5), ElementsAre(Box{{3, 6}, {4, 10}}));
  EXPECT_THAT(layout.without_flat().boxes(mesh, 5), ElementsAre(Box{{2, 0}, {4, 10}}));
  EXPECT_THAT(layout.grad_group(mesh, 3), ElementsAre(1, 3, 5));
}

TEST(Layout, ATiedTensorLivesOnTwoStages) {
  const Mesh mesh({.data = 2, .pipe = 3}, 6);
  const Layout layout{.shape = {4}, .stages = {0, 2}};
  EXPECT_THAT(layout.boxes(mesh, 1), ElementsAre(whole({4})));
  EXPECT_THAT(layout.boxes(mesh, 2), IsEmpty());
  EXPECT_THAT(layout.boxes(mesh, 4), ElementsAre(whole({4})));
  EXPECT_THAT(layout.owned_boxes(mesh, 0), ElementsAre(whole({4})));
  EXPECT_THAT(layout.owned_boxes(mesh, 4), IsEmpty());
  EXPECT_EQ(layout.grad_sum(mesh), (Axes{Axis::data, Axis::context, Axis::pipe}));
  EXPECT_THAT(layout.grad_group(mesh, 5), ElementsAre(0, 4, 1, 5));
  EXPECT_THAT(layout.grad_group(mesh, 2), IsEmpty());
  const Layout block{.shape = {4}, .stages = {2}};
  EXPECT_THAT(block.grad_group(mesh, 5), ElementsAre(4, 5));
  EXPECT_THAT(block.owned_boxes(mesh, 4), ElementsAre(whole({4})));
}

TEST(Layout, KvHeadsAreSharedInsideTensor) {
  const Layout layout{.shape = {20, 8},  // two heads of 10 channels
                      .cuts = {{.dim = 0, .axes = kTensor, .unit = 10, .share = true}}};
  const Mesh four({.data = 1, .tensor = 4}, 4);
  EXPECT_THAT(layout.boxes(four, 0), ElementsAre(Box{{0, 0}, {10, 8}}));
  EXPECT_EQ(layout.boxes(four, 1), layout.boxes(four, 0));
  EXPECT_THAT(layout.boxes(four, 3), ElementsAre(Box{{10, 0}, {20, 8}}));
  EXPECT_EQ(layout.owner(four, {15, 0}), 2);
  EXPECT_THAT(layout.owned_boxes(four, 3), IsEmpty());
  EXPECT_EQ(layout.grad_sum(four), Axes({Axis::data, Axis::context}).with(kTensor));
  EXPECT_THAT(layout.grad_group(four, 3), ElementsAre(2, 3));
  const Mesh two({.data = 1, .tensor = 2}, 2);
  EXPECT_EQ(layout.grad_sum(two), (Axes{Axis::data, Axis::context}));
  EXPECT_THAT(layout.grad_group(two, 1), ElementsAre(1));
  const Mesh three({.data = 1, .tensor = 3}, 3);
  EXPECT_THAT(error_of([&] { (void)layout.boxes(three, 0); }),
              HasSubstr("2 units are to be shared by 3 ranks"));
}

TEST(Layout, SequenceParallelNormsMeetOverTensor) {
  const Mesh mesh({.data = 2, .tensor = 2}, 4);
  const Layout norm{.shape = {8}, .partial = Axes{Axis::data, Axis::context}.with(kTensor)};
  EXPECT_THAT(norm.grad_group(mesh, 2), ElementsAre(0, 1, 2, 3));
  const Layout bias{.shape = {8}};
  EXPECT_THAT(bias.grad_group(mesh, 2), ElementsAre(0, 2));
}

TEST(Layout, OwnValuesHaveOneMoreDim) {
  const Mesh mesh({.data = 2, .island = 2}, 4);
  const Layout layout{.shape = {3}, .own = Axis::island};
  EXPECT_EQ(layout.stored_shape(mesh), (Shape{2, 3}));
  EXPECT_THAT(layout.boxes(mesh, 1), ElementsAre(Box{{0, 0}, {1, 3}}));
  EXPECT_THAT(layout.boxes(mesh, 3), ElementsAre(Box{{1, 0}, {2, 3}}));
  EXPECT_EQ(layout.owner(mesh, {1, 2}), 2);
  EXPECT_THAT(layout.grad_group(mesh, 3), ElementsAre(2, 3));
  const Layout local{.shape = {3}, .own = {Axis::island, Axis::data}};
  EXPECT_EQ(local.stored_shape(mesh), (Shape{4, 3}));
  EXPECT_THAT(local.owned_boxes(mesh, 3), ElementsAre(Box{{3, 0}, {4, 3}}));
  EXPECT_THAT(local.grad_group(mesh, 3), ElementsAre(3));
  EXPECT_EQ(local.grad_sum(mesh), Axes(Axis::context));
}

TEST(Layout, ScalarsHaveOneBox) {
  const Mesh mesh({.data = 2}, 2);
  const Layout layout{.shape = {}, .cuts = {{.dim = Cut::kFlat, .axes = Axis::data}}};
  EXPECT_THAT(layout.boxes(mesh, 0), ElementsAre(whole({})));
  EXPECT_THAT(layout.boxes(mesh, 1), IsEmpty());
}

TEST(Layout, IdleRanksHoldNothing) {
  const Mesh mesh({.data = 1, .tensor = 2}, std::vector<int>{3, 1});
  const Layout layout{.shape = {4}, .cuts = {{.dim = 0, .axes = kTensor}}};
  EXPECT_THAT(layout.boxes(mesh, 0), IsEmpty());
  EXPECT_THAT(layout.owned_boxes(mesh, 9), IsEmpty());
  EXPECT_THAT(layout.boxes(mesh, 1), ElementsAre(Box{{2}, {4}}));
}

TEST(Layout, EveryElementHasOneOwnerWhoHoldsIt) {
  Dice dice(8);
  for (int round = 0; round < 2000; ++round) {
    const Mesh mesh = random_mesh(dice, pick(dice, 1, 2));
    const Axes own = pick(dice, 0, 3) == 0 ? Axes(Axis::island) : Axes();
    const Layout layout = random_layout(dice, mesh, random_shape(dice), own);
    const Shape stored = layout.stored_shape(mesh);
    std::vector<int> owners(size_t(stored.numel()), 0);
    for (const int rank : mesh.ranks()) {
      std::vector<int64_t> held = numbers(layout.boxes(mesh, rank), stored);
      std::sort(held.begin(), held.end());
      EXPECT_EQ(std::adjacent_find(held.begin(), held.end()), held.end());
      for (const int64_t number : numbers(layout.owned_boxes(mesh, rank), stored)) {
        EXPECT_TRUE(std::binary_search(held.begin(), held.end(), number));
        ++owners[size_t(number)];
      }
    }
    ASSERT_THAT(owners, testing::Each(1)) << to_string(layout) << " on " << to_string(mesh);
  }
}

// Each rank's gradient of an element is a part; summed over its group every part is there once.
TEST(Layout, GradGroupsAgree) {
  Dice dice(9);
  for (int round = 0; round < 500; ++round) {
    const Mesh mesh = random_mesh(dice);
    Layout layout = random_layout(dice, mesh, random_shape(dice), {});
    for (const Axis axis : Axes({Axis::data, Axis::context}).with(kTensor)) {
      const bool cuts = std::any_of(layout.cuts.begin(), layout.cuts.end(), [&](const Cut& cut) {
        return cut.dim != Cut::kFlat && cut.axes.has(axis);
      });
      if (!cuts && pick(dice, 0, 1)) layout.partial = layout.partial.with(axis);
    }
    for (const int rank : mesh.ranks()) {
      const std::vector<int> group = layout.grad_group(mesh, rank);
      EXPECT_EQ(group.empty(), layout.without_flat().boxes(mesh, rank).empty());
      for (const int other : group) EXPECT_EQ(layout.grad_group(mesh, other), group);
    }
  }
}

TEST(Layout, RefusesWhatContradictsItself) {
  const Mesh mesh({.data = 2, .pipe = 2}, 4);
  const auto text = [&](const Layout& layout) {
    return error_of([&] { (void)layout.boxes(mesh, 0); });
  };
  EXPECT_THAT(text({.shape = {4}, .cuts = {{.dim = 1, .axes = kTensor}}}), HasSubstr("no dim 1"));
  EXPECT_THAT(text({.shape = {4}, .cuts = {{.dim = 0}}}), HasSubstr("needs axes"));
  EXPECT_THAT(text({.shape = {4}, .cuts = {{.dim = 0, .axes = kTensor, .unit = 0}}}),
              HasSubstr("a unit of 0"));
  EXPECT_THAT(text({.shape = {4}, .cuts = {{.dim = 0, .axes = Axis::data}}}),
              HasSubstr("take it out of partial"));
  EXPECT_THAT(
      text({.shape = {4},
            .cuts = {{.dim = 0, .axes = kTensor}, {.dim = 0, .axes = {Axis::context, Axis::col}}}}),
      HasSubstr("used twice"));
  EXPECT_THAT(
      text({.shape = {4},
            .cuts = {{.dim = Cut::kFlat, .axes = Axis::data}, {.dim = 0, .axes = kTensor}}}),
      HasSubstr("cuts of dims go before"));
  EXPECT_THAT(text({.shape = {4}, .cuts = {{.dim = Cut::kFlat, .axes = Axis::data, .ends = {1}}}}),
              HasSubstr("1 ends of parts, but data has 2"));
  EXPECT_THAT(
      text({.shape = {4}, .cuts = {{.dim = Cut::kFlat, .axes = Axis::data, .ends = {2, 1}}}}),
      HasSubstr("must not fall"));
  EXPECT_THAT(
      text({.shape = {4}, .cuts = {{.dim = Cut::kFlat, .axes = Axis::data, .ends = {2, 3}}}}),
      HasSubstr("ends at 3 of 4"));
  EXPECT_THAT(text({.shape = {4}, .stages = {2}}), HasSubstr("no stage 2"));
  EXPECT_THAT(text({.shape = {4}, .stages = {1, 1}}), HasSubstr("stands twice"));
  EXPECT_THAT(text({.shape = {4}, .stages = {1}, .own = Axis::pipe}), HasSubstr("used twice"));
}

}  // namespace
}  // namespace limpid
