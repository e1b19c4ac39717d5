#include "core/random.h"

#include <gtest/gtest.h>

#include <set>

namespace limpid {
namespace {

// The known answers that its authors publish with Random123.
TEST(Philox, KnownAnswers) {
  using Words = std::array<uint32_t, 4>;
  EXPECT_EQ(philox({0, 0, 0, 0}, 0), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({~0u, ~0u, ~0u, ~0u}, ~uint64_t(0)),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822u),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, DependsOnSeedNameStepAndIndexAlone) {
  const Random random(7, "layers.0.dropout", 3);
  EXPECT_EQ(random.words(5), Random(7, "layers.0.dropout", 3).words(5));
  std::set<std::array<uint32_t, 4>> seen = {
      random.words(5), random.words(6), Random(8, "layers.0.dropout", 3).words(5),
      Random(7, "layers.1.dropout", 3).words(5), Random(7, "layers.0.dropout", 4).words(5)};
  EXPECT_EQ(seen.size(), 5u);
}

TEST(Random, NormalHasMomentsOfANormal) {
  const Random random(1, "normal");
  constexpr int kCount = 100000;
  double sum = 0, squares = 0, fourth = 0;
  for (int i = 0; i < kCount; ++i) {
    const double x = random.normal(uint64_t(i));
    sum += x, squares += x * x, fourth += x * x * x * x;
  }
  EXPECT_NEAR(sum / kCount, 0, 0.015);
  EXPECT_NEAR(squares / kCount, 1, 0.02);
  EXPECT_NEAR(fourth / kCount, 3, 0.15);
}

}  // namespace
}  // namespace limpid
