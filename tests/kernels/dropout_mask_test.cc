#include "kernels/dropout_mask.h"

#include <gtest/gtest.h>

#include <vector>

namespace limpid {
namespace {

TEST(DropoutMask, FactorsAreThoseOfKeepsWhereverTheyBegin) {
  const DropoutMask mask(Random(3, "layers.0.dropout", 7), 0.25f);
  for (uint64_t first : {uint64_t(0), uint64_t(5), (uint64_t(1) << 34) - 301}) {
    std::vector<float> factors(1003);
    mask.factors(first, int64_t(factors.size()), factors.data());
    for (size_t j = 0; j < factors.size(); ++j)
      ASSERT_EQ(factors[j], mask.keeps(first + j) ? 1 / 0.75f : 0) << first << " + " << j;
  }
}

TEST(DropoutMask, DropsTheShareThatWasAsked) {
  for (float p : {0.0f, 0.1f, 0.9f}) {
    const DropoutMask mask(Random(1, "x"), p);
    int dropped = 0;
    for (uint64_t i = 0; i < 100000; ++i) dropped += !mask.keeps(i);
    EXPECT_NEAR(dropped / 1e5, p, 0.004);
    EXPECT_EQ(dropped == 0, p == 0);
  }
}

TEST(DropoutMask, RefusesWhatIsNoProbability) {
  EXPECT_THROW(DropoutMask(Random(1, "x"), 1.0f), Error);
  EXPECT_THROW(DropoutMask(Random(1, "x"), -0.1f), Error);
  EXPECT_THROW(DropoutMask(Random(1, "x"), NAN), Error);
}

}  // namespace
}  // namespace limpid
