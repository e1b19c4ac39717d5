#include "parallel/reshard.h"

#include <gmock/gmock.h>

#include <map>

#include "tests/parallel/random_layout.h"

namespace limpid {
namespace {

using testing::HasSubstr;
using Memory = std::map<int, std::vector<int64_t>>;  // by rank, elements of its boxes

Memory filled(const Layout& layout, const Mesh& mesh) {
  Memory memory;
  for (const int rank : mesh.ranks())
    memory[rank] = numbers(layout.boxes(mesh, rank), layout.stored_shape(mesh));
  return memory;
}

// Does the moves as ranks would, one by one, from memory under A to memory under B that counts how
// often each element arrives.
struct Arrival {
  Memory value, times;

  Arrival(const Layout& a, const Mesh& mesh_a, const Layout& b, const Mesh& mesh_b) {
    const Memory before = filled(a, mesh_a);
    for (const int rank : mesh_b.ranks()) {
      value[rank].assign(size_t(numel(b.boxes(mesh_b, rank))), -1);
      times[rank].assign(value[rank].size(), 0);
    }
    const Reshard plan = reshard(a, mesh_a, b, mesh_b);
    for (const Move& move : plan.kept) EXPECT_EQ(move.from, move.to);
    for (const Move& move : plan.moves) EXPECT_NE(move.from, move.to);
    for (const std::vector<Move>* moves : {&plan.moves, &plan.kept}) {
      for (const Move& move : *moves) {
        std::vector<int64_t> message(size_t(move.box.numel()), -1);
        const std::vector<Box> one = {move.box}, into = b.boxes(mesh_b, move.to);
        copy_box(message.data(), one, before.at(move.from).data(), a.boxes(mesh_a, move.from),
                 move.box, sizeof(int64_t));
        copy_box(value[move.to].data(), into, message.data(), one, move.box, sizeof(int64_t));
        std::vector<int64_t> counts(times[move.to].size(), 0);
        const std::vector<int64_t> ones(message.size(), 1);
        copy_box(counts.data(), into, ones.data(), one, move.box, sizeof(int64_t));
        for (size_t i = 0; i < counts.size(); ++i) times[move.to][i] += counts[i];
      }
    }
  }
};

TEST(Reshard, EveryElementArrivesOnceAndRight) {
  Dice dice(5);
  int64_t moved = 0, kept = 0;
  for (int round = 0; round < 800; ++round) {
    const Shape shape = random_shape(dice);
    const int islands = pick(dice, 1, 2);
    const Mesh mesh_a = random_mesh(dice, islands), mesh_b = random_mesh(dice, islands);
    const Axes own = pick(dice, 0, 3) == 0 ? Axes(Axis::island) : Axes();
    const Layout a = random_layout(dice, mesh_a, shape, own);
    const Layout b = random_layout(dice, mesh_b, shape, own);
    const Arrival arrival(a, mesh_a, b, mesh_b);
    ASSERT_EQ(arrival.value, filled(b, mesh_b)) << to_string(a) << " to " << to_string(b);
    for (const auto& [rank, times] : arrival.times)
      for (const int64_t count : times) ASSERT_EQ(count, 1);
    const Reshard plan = reshard(a, mesh_a, b, mesh_b);
    for (const Move& move : plan.kept) kept += move.box.numel();
    for (const Move& move : plan.moves) {
      moved += move.box.numel();
      // From the owner, to a rank that had none of it.
      EXPECT_EQ(a.owner(mesh_a, move.box.begin), move.from);
      for (const Box& had : a.boxes(mesh_a, move.to))
        EXPECT_EQ(intersection(had, move.box).numel(), 0);
    }
  }
  EXPECT_GT(moved, 30000);
  EXPECT_GT(kept, 3000);
}

TEST(Reshard, NothingMovesWhereNothingChanges) {
  Dice dice(6);
  for (int round = 0; round < 200; ++round) {
    const Mesh mesh = random_mesh(dice, 2);
    const Layout layout = random_layout(dice, mesh, random_shape(dice), {});
    EXPECT_TRUE(reshard(layout, mesh, layout, mesh).moves.empty());
    // Nor where each rank keeps a part of what it has: ZeRO begins.
    Layout zero = layout.without_flat();
    const Layout full = zero;
    Axes used;
    for (const Cut& cut : zero.cuts) used = used.with(cut.axes);
    if (used.has(Axis::data)) continue;
    zero.cuts.push_back({.dim = Cut::kFlat, .axes = Axis::data});
    EXPECT_TRUE(reshard(full, mesh, zero, mesh).moves.empty());
  }
}

TEST(Reshard, IsTheSameEveryTime) {
  Dice dice(7);
  const Mesh mesh_a = random_mesh(dice, 2), mesh_b = random_mesh(dice, 2);
  const Layout a = random_layout(dice, mesh_a, {5, 6, 4}, {}),
               b = random_layout(dice, mesh_b, {5, 6, 4}, {});
  const Reshard first = reshard(a, mesh_a, b, mesh_b), again = reshard(a, mesh_a, b, mesh_b);
  ASSERT_EQ(first.moves.size(), again.moves.size());
  for (size_t i = 0; i < first.moves.size(); ++i) {
    EXPECT_EQ(first.moves[i].from, again.moves[i].from);
    EXPECT_EQ(first.moves[i].to, again.moves[i].to);
    EXPECT_EQ(first.moves[i].box, again.moves[i].box);
  }
}

TEST(Reshard, TensorCutsToPipelineStages) {
  const Mesh two({.data = 1, .tensor = 2}, 2), pipe({.data = 1, .pipe = 2}, 2);
  const Layout columns{.shape = {4, 6}, .cuts = {{.dim = 0, .axes = kTensor}}};
  const Layout last{.shape = {4, 6}, .stages = {1}};
  const Reshard plan = reshard(columns, two, last, pipe);
  ASSERT_EQ(plan.moves.size(), 1u);
  EXPECT_EQ(plan.moves[0].from, 0);
  EXPECT_EQ(plan.moves[0].to, 1);
  EXPECT_EQ(plan.moves[0].box, (Box{{0, 0}, {2, 6}}));
  ASSERT_EQ(plan.kept.size(), 1u);
  EXPECT_EQ(plan.kept[0].box, (Box{{2, 0}, {4, 6}}));
}

TEST(Reshard, ShapesMustAgree) {
  const Mesh one, islands({.data = 1, .island = 2}, 2);
  const auto text = [](const Layout& a, const Mesh& mesh_a, const Layout& b, const Mesh& mesh_b) {
    try {
      reshard(a, mesh_a, b, mesh_b);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  EXPECT_THAT(text({.shape = {4}}, one, {.shape = {5}}, one), HasSubstr("it is (4) there and (5)"));
  const Layout own{.shape = {4}, .own = Axis::island};
  EXPECT_THAT(text(own, islands, own, one), HasSubstr("(2, 4) there and (1, 4)"));
}

}  // namespace
}  // namespace limpid
