#include "data/order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "core/error.h"

namespace limpid {

void PrintTo(const SampleId& id, std::ostream* out) {
  *out << "{" << id.corpus << ", " << id.epoch << ", " << id.window << "}";
}

namespace {

TEST(Permute, ReachesEveryPlaceOnce) {
  for (uint64_t n : {1, 2, 3, 4, 5, 16, 17, 63, 64, 65, 1000, 4097}) {
    std::vector<uint64_t> places;
    for (uint64_t i = 0; i < n; ++i) places.push_back(permute(i, n, n * 7));
    std::sort(places.begin(), places.end());
    for (uint64_t i = 0; i < n; ++i) ASSERT_EQ(places[i], i) << "of " << n;
  }
}

// Each place is about equally likely for each index, over the keys.
TEST(Permute, FavoursNoPlace) {
  constexpr uint64_t kCount = 12, kKeys = 12000;
  for (uint64_t i = 0; i < kCount; ++i) {
    std::vector<double> counts(kCount);
    for (uint64_t key = 0; key < kKeys; ++key) ++counts[permute(i, kCount, key * 0x12345)];
    double chi_squared = 0;
    for (double count : counts) chi_squared += (count - 1000) * (count - 1000) / 1000;
    EXPECT_LT(chi_squared, 45) << "index " << i;  // 11 degrees of freedom: 1 of 10^5 is above 43
  }
}

// Computed by a program of its own from the description in order.h.
TEST(Permute, KnownAnswers) {
  std::vector<uint64_t> ten;
  for (uint64_t i = 0; i < 10; ++i) ten.push_back(permute(i, 10, 1));
  EXPECT_EQ(ten, (std::vector<uint64_t>{4, 6, 8, 0, 3, 1, 9, 5, 7, 2}));
  EXPECT_EQ(permute(0, 1000003, 0xdeadbeef), 54583u);
  EXPECT_EQ(permute(1000002, 1000003, 0xdeadbeef), 798805u);
  EXPECT_EQ(permute(999999999999, 1000000000000, 7), 251852463016u);
}

std::vector<SampleId> samples(const Order& order, int64_t first, int64_t count) {
  std::vector<SampleId> out;
  for (int64_t i = first; i < first + count; ++i) out.push_back(order.sample(i));
  return out;
}

TEST(Order, KnownAnswers) {
  EXPECT_EQ(samples(Order(42, {5}, {}), 0, 7),
            (std::vector<SampleId>{
                {0, 0, 4}, {0, 0, 1}, {0, 0, 3}, {0, 0, 2}, {0, 0, 0}, {0, 1, 0}, {0, 1, 1}}));
  const Order mixed(7, {100, 3, 1000}, {0.5, 0.125, 0.375});
  EXPECT_EQ(samples(mixed, 0, 6),
            (std::vector<SampleId>{
                {0, 0, 15}, {2, 0, 440}, {0, 0, 52}, {1, 0, 0}, {0, 0, 85}, {2, 0, 234}}));
  EXPECT_EQ(mixed.sample(1000000000000000), (SampleId{0, 5000000000000, 30}));
  EXPECT_EQ(Order(7, {100, 3, 1000}, {}).sample(1103), (SampleId{2, 1, 274}));
}

TEST(Order, TakesEveryWindowOnceInEachEpoch) {
  const Order order(3, {17, 5, 40}, {0.2, 0.5, 0.3});
  std::map<std::pair<int32_t, int64_t>, std::vector<int64_t>> windows;
  for (const SampleId& id : samples(order, 0, 1000))
    windows[{id.corpus, id.epoch}].push_back(id.window);
  for (const int32_t corpus : {0, 1, 2}) {
    std::vector<int64_t> first = windows[{corpus, 0}], second = windows[{corpus, 1}];
    EXPECT_NE(first, second);  // another order
    for (auto* epoch : {&first, &second}) {
      std::sort(epoch->begin(), epoch->end());
      std::vector<int64_t> all((std::array{17u, 5u, 40u}[size_t(corpus)]));
      std::iota(all.begin(), all.end(), 0);
      EXPECT_EQ(*epoch, all);
    }
  }
}

TEST(Order, WithoutWeightsTakesAllWindowsBeforeAnyTwice) {
  const std::vector<int64_t> windows = {17, 1, 40, 8};
  const Order order(3, windows, {});
  std::set<std::pair<int32_t, int64_t>> seen;
  for (const SampleId& id : samples(order, 0, 66)) {
    EXPECT_EQ(id.epoch, 0);
    seen.insert({id.corpus, id.window});
  }
  EXPECT_EQ(seen.size(), 66u);
  for (const SampleId& id : samples(order, 66, 66)) EXPECT_EQ(id.epoch, 1);
}

TEST(Order, KeepsEveryPrefixWithinTwoOfItsShares) {
  const std::vector<std::vector<double>> mixes = {{1, 1},
                                                  {0.9, 0.1},
                                                  {1, 2, 3, 4, 5},
                                                  {1e-3, 1e-3, 1e-3, 0.5, 1e-2},
                                                  {1, 1, 2, 3, 5, 8, 13, 21, 34, 55},
                                                  std::vector<double>(33, 1.0)};
  for (const std::vector<double>& weights : mixes) {
    const Order order(1, std::vector<int64_t>(weights.size(), 50), weights);
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    std::vector<int64_t> counts(weights.size());
    double worst = 0;
    for (int64_t n = 0; n < 20000; ++n) {
      for (size_t c = 0; c < weights.size(); ++c) {
        worst = std::max(worst, std::abs(double(counts[c]) - double(n) * weights[c] / sum));
        if (n % 977 == 0) {
          ASSERT_EQ(order.count(n, int32_t(c)), counts[c]);
        }
      }
      ++counts[size_t(order.sample(n).corpus)];
    }
    EXPECT_LE(worst, 2) << weights.size() << " corpora";
  }
}

TEST(Order, CountsFarAheadWithoutOverflow) {
  const int64_t far = int64_t(1) << 60;
  const Order order(1, {int64_t(1) << 50, int64_t(1) << 40}, {0.75, 0.25});
  EXPECT_NEAR(double(order.count(far, 0)) / double(far), 0.75, 1e-9);
  EXPECT_EQ(order.count(far, 0) + order.count(far, 1), far);
  EXPECT_LT(order.sample(far).window, int64_t(1) << 50);
}

TEST(Order, DependsOnTheSeedAndOnEachCorpus) {
  const auto windows = [](uint64_t seed, int32_t corpus) {
    std::vector<int64_t> out;
    for (const SampleId& id : samples(Order(seed, {50, 50}, {}), 0, 100))
      if (id.corpus == corpus) out.push_back(id.window);
    return out;
  };
  EXPECT_NE(windows(1, 0), windows(2, 0));
  EXPECT_NE(windows(1, 0), windows(1, 1));
}

TEST(Order, RefusesWhatHasNoOrder) {
  EXPECT_THROW(Order(1, {}, {}), Error);
  EXPECT_THROW(Order(1, {0}, {}), Error);
  EXPECT_THROW(Order(1, {5, 5}, {1}), Error);
  EXPECT_THROW(Order(1, {5, 5}, {1, 0}), Error);
  EXPECT_THROW(Order(1, {5, 5}, {1, NAN}), Error);
}

}  // namespace
}  // namespace limpid
