#include "kernels/math.h"

#include <gtest/gtest.h>

#include <vector>

namespace limpid {
namespace {

// Distance in units of the last place of the exact value rounded to f32.
double ulps(float got, double exact) {
  const float rounded = float(exact);
  const double ulp = double(std::nextafter(std::abs(rounded), INFINITY)) - std::abs(rounded);
  return std::abs(got - exact) / ulp;
}

// Every 997th f32 between two bounds of one sign, through a loop that the compiler vectorises.
template <class F>
std::vector<std::pair<float, float>> over(float low, float high, F f) {
  std::vector<float> x;
  for (uint32_t bits = std::bit_cast<uint32_t>(low); bits <= std::bit_cast<uint32_t>(high);
       bits += 997)
    x.push_back(std::bit_cast<float>(bits));
  std::vector<float> y(x.size());
#pragma omp simd
  for (size_t i = 0; i < x.size(); ++i) y[i] = f(x[i]);
  std::vector<std::pair<float, float>> out;
  for (size_t i = 0; i < x.size(); ++i) out.emplace_back(x[i], y[i]);
  return out;
}

TEST(Math, ExpIsWithinOneUlp) {
  const auto exp = [](float x) { return math::exp(x); };
  double worst = 0;
  for (auto [x, y] : over(1e-30f, 88.7228f, exp))
    worst = std::max(worst, ulps(y, std::exp(double(x))));
  for (auto [x, y] : over(-1e-30f, -87.336f, exp))
    worst = std::max(worst, ulps(y, std::exp(double(x))));
  EXPECT_LT(worst, 1.0);
  EXPECT_EQ(math::exp(0.0f), 1.0f);
}

TEST(Math, ExpAtItsEnds) {
  EXPECT_EQ(math::exp(INFINITY), INFINITY);
  EXPECT_EQ(math::exp(88.73f), INFINITY);
  EXPECT_EQ(math::exp(-87.34f), 0.0f);
  EXPECT_EQ(math::exp(-1e30f), 0.0f);
  EXPECT_EQ(math::exp(-INFINITY), 0.0f);
  EXPECT_TRUE(std::isnan(math::exp(NAN)));
  EXPECT_TRUE(std::isnan(math::exp(std::bit_cast<float>(0xffc12345u))));
}

TEST(Math, SigmoidAtItsEnds) {
  EXPECT_EQ(math::sigmoid(0.0f), 0.5f);
  EXPECT_EQ(math::sigmoid(-200.0f), 0.0f);
  EXPECT_EQ(math::sigmoid(200.0f), 1.0f);
  EXPECT_TRUE(std::isnan(math::sigmoid(NAN)));
}

TEST(Math, NormalMatchesErfc) {
  const auto density = [](float x) { return math::normal(x).density; };
  const auto cumulative = [](float x) { return math::normal(x).cumulative; };
  for (float sign : {-1.0f, 1.0f}) {
    double worst_density = 0, worst = 0;
    for (auto [x, y] : over(sign * 1e-20f, sign * 40.0f, density))
      worst_density = std::max(worst_density, std::abs(y - math::normal(double(x)).density));
    for (auto [x, y] : over(sign * 1e-20f, sign * 40.0f, cumulative))
      worst = std::max(worst, std::abs(y - math::normal(double(x)).cumulative));
    EXPECT_LT(worst_density, 0x1p-24);
    EXPECT_LT(worst, 1e-7);
  }
  EXPECT_EQ(math::normal(-40.0f).cumulative, 0.0f);
  EXPECT_EQ(math::normal(40.0f).cumulative, 1.0f);
  EXPECT_NEAR(math::normal(1.0).cumulative, 0.8413447460685429, 1e-15);
  EXPECT_NEAR(math::normal(1.0).density, 0.24197072451914337, 1e-15);
  EXPECT_TRUE(std::isnan(math::normal(NAN).cumulative));
}

}  // namespace
}  // namespace limpid
