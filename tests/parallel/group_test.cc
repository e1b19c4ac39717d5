#include "parallel/group.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <thread>

#include "core/random.h"
#include "parallel/tree.h"
#include "parallel/world.h"

namespace limpid {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr milliseconds kShort(300);

template <class T>
Tensor tensor_of(std::vector<T>& values) {
  return {values.data(), {int64_t(values.size())}, dtype_of<T>};
}

// What a rank puts in: f(rank, i), the same in every test.
template <class T>
std::vector<T> values_of(int rank, int64_t count) {
  const Random random(7, "rank" + std::to_string(rank));
  std::vector<T> out;
  for (int64_t i = 0; i < count; ++i) out.push_back(T(random.normal_pair(uint64_t(i))[0]));
  return out;
}

// The sum that contract and README promise, written down once more: halves of the next power of
// two.
template <class A>
A sum_of_halves(const std::vector<A>& terms, size_t begin, size_t width) {
  if (width == 1) return terms[begin];
  const A left = sum_of_halves(terms, begin, width / 2);
  const size_t middle = begin + width / 2;
  return middle < terms.size() ? left + sum_of_halves(terms, middle, width / 2) : left;
}

template <class T>
std::vector<T> expected_sum(int ranks, int64_t count) {
  std::vector<std::vector<T>> in;
  for (int rank = 0; rank < ranks; ++rank) in.push_back(values_of<T>(rank, count));
  size_t width = 1;
  while (width < size_t(ranks)) width *= 2;
  std::vector<T> out;
  for (int64_t i = 0; i < count; ++i) {
    std::vector<Accum<T>> terms;
    for (const auto& values : in) terms.push_back(Accum<T>(values[size_t(i)]));
    out.push_back(T(sum_of_halves(terms, 0, width)));
  }
  return out;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) return false;
  return a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

struct Ranks {
  int n;
  Talk talk;
};

void PrintTo(const Ranks& ranks, std::ostream* out) {
  *out << ranks.n << (ranks.talk == Talk::memory ? " threads" : " by Gloo");
}

std::string name_of_ranks(const ::testing::TestParamInfo<Ranks>& of) {
  return std::to_string(of.param.n) + (of.param.talk == Talk::memory ? "Threads" : "Gloo");
}

class GroupTest : public ::testing::TestWithParam<Ranks> {
 protected:
  int n() const { return GetParam().n; }
  void on_ranks(const std::function<void(Group&)>& fn) {
    spawn(
        n(), [&](World& world) { fn(world.group()); }, kRankTimeout, GetParam().talk);
  }
};

INSTANTIATE_TEST_SUITE_P(All, GroupTest,
                         ::testing::Values(Ranks{1, Talk::memory}, Ranks{2, Talk::memory},
                                           Ranks{3, Talk::memory}, Ranks{4, Talk::memory},
                                           Ranks{2, Talk::gloo}, Ranks{3, Talk::gloo},
                                           Ranks{4, Talk::gloo}),
                         name_of_ranks);

template <class T>
void check_sums(Group& group, int64_t count) {
  Stream stream;
  std::vector<T> all = values_of<T>(group.rank(), count);
  group.all_reduce(stream, tensor_of(all), "all");
  EXPECT_TRUE(same_bits(all, expected_sum<T>(group.size(), count))) << count;

  std::vector<T> later = values_of<T>(group.rank(), count);
  group.start_all_reduce(stream, tensor_of(later), "later").wait(stream);
  EXPECT_TRUE(same_bits(later, all)) << count;

  // Uneven parts: rank r gets r + 1 shares, the last one the rest.
  const int size = group.size();
  std::vector<int64_t> counts;
  for (int rank = 0; rank < size; ++rank) counts.push_back(count * (rank + 1) / (size * size));
  counts.back() += count - std::accumulate(counts.begin(), counts.end(), int64_t(0));
  const int64_t begin = std::accumulate(counts.begin(), counts.begin() + group.rank(), int64_t(0));
  std::vector<T> in = values_of<T>(group.rank(), count);
  std::vector<T> out(static_cast<size_t>(counts[size_t(group.rank())]));
  group.scatter_sum(stream, tensor_of(out), tensor_of(in), "scatter", counts);
  const std::vector<T> mine(all.begin() + begin, all.begin() + begin + int64_t(out.size()));
  EXPECT_TRUE(same_bits(out, mine)) << count;

  std::vector<T> whole(static_cast<size_t>(count));
  group.gather(stream, tensor_of(whole), tensor_of(out), "gather", counts);
  EXPECT_TRUE(same_bits(whole, all)) << count;
}

TEST_P(GroupTest, SumsInOneTreeWhateverTheSize) {
  on_ranks([](Group& group) {
    for (int64_t count : {0, 1, 2, 3, 5, 255, 256, 257, 10'007}) {
      check_sums<float>(group, count);
      check_sums<bf16>(group, count);
      check_sums<double>(group, count);
    }
  });
}

TEST_P(GroupTest, MaximumTakesTheLargestAndAnyNan) {
  on_ranks([](Group& group) {
    Stream stream;
    const float nan = std::numeric_limits<float>::quiet_NaN();
    std::vector<float> x = {-float(group.rank()) - 1, float(group.rank()),
                            group.rank() == group.size() - 1 ? nan : 9};
    group.all_reduce(stream, tensor_of(x), "x", Reduce::max);
    EXPECT_EQ(x[0], -1);
    EXPECT_EQ(x[1], float(group.size() - 1));
    EXPECT_TRUE(std::isnan(x[2]));
  });
}

TEST_P(GroupTest, GatherPutsEqualPartsInTheOrderOfRanks) {
  on_ranks([](Group& group) {
    Stream stream;
    std::vector<int32_t> in = {group.rank(), 10 * group.rank()}, out(size_t(2 * group.size()), -1);
    group.gather(stream, tensor_of(out), tensor_of(in), "in");
    for (int rank = 0; rank < group.size(); ++rank) {
      EXPECT_EQ(out[size_t(2 * rank)], rank);
      EXPECT_EQ(out[size_t(2 * rank + 1)], 10 * rank);
    }
    std::vector<int32_t> place(size_t(group.size()), -1);
    place[size_t(group.rank())] = 5 + group.rank();
    const Tensor whole = tensor_of(place);
    group.start_gather(stream, whole, whole.slice(group.rank(), group.rank() + 1), "place")
        .wait(stream);
    for (int rank = 0; rank < group.size(); ++rank) EXPECT_EQ(place[size_t(rank)], 5 + rank);
  });
}

TEST_P(GroupTest, BroadcastGivesEveryRootsValues) {
  on_ranks([](Group& group) {
    Stream stream;
    for (int root = 0; root < group.size(); ++root)
      for (int64_t count : {0, 1, 2, 1000}) {
        std::vector<bf16> x = values_of<bf16>(group.rank(), count);
        group.broadcast(stream, tensor_of(x), root, "x");
        EXPECT_TRUE(same_bits(x, values_of<bf16>(root, count))) << root << " " << count;
      }
  });
}

TEST_P(GroupTest, AllToAllSwapsUnevenParts) {
  on_ranks([](Group& group) {
    Stream stream;
    const int me = group.rank(), size = group.size();
    // Rank a gives rank b a + 2 b elements, each 100 a + b.
    std::vector<int64_t> in_counts, out_counts;
    std::vector<int32_t> in, expected;
    for (int rank = 0; rank < size; ++rank) {
      in_counts.push_back(me + 2 * rank);
      out_counts.push_back(rank + 2 * me);
      in.insert(in.end(), size_t(in_counts.back()), 100 * me + rank);
      expected.insert(expected.end(), size_t(out_counts.back()), 100 * rank + me);
    }
    std::vector<int32_t> out(expected.size(), -1);
    group.all_to_all(stream, tensor_of(out), tensor_of(in), "in", out_counts, in_counts);
    EXPECT_EQ(out, expected);
  });
}

TEST_P(GroupTest, StartedMessagesCrossWithoutDeadlock) {
  on_ranks([](Group& group) {
    if (group.size() == 1) return;
    Stream stream;
    const int right = (group.rank() + 1) % group.size();
    const int left = (group.rank() + group.size() - 1) % group.size();
    std::vector<float> first = {float(group.rank()), 1}, second = {float(group.rank()), 2};
    std::vector<float> got_first(2), got_second(2);
    {
      Work a = group.start_send(stream, tensor_of(first), right, "first");
      Work b = group.start_send(stream, tensor_of(second), right, "second");
      group.recv(stream, tensor_of(got_first), left, "first");
      Work c = group.start_recv(stream, tensor_of(got_second), left, "second");
      c.wait(stream);
      a.wait(stream);
      b.wait(stream);
    }
    EXPECT_THAT(got_first, ElementsAre(float(left), 1));
    EXPECT_THAT(got_second, ElementsAre(float(left), 2));
  });
}

TEST_P(GroupTest, StartedCollectivesRunBesideOthers) {
  on_ranks([](Group& group) {
    Stream stream;
    constexpr int kMany = 8;
    std::vector<std::vector<float>> x;
    std::vector<Work> works;
    for (int i = 0; i < kMany; ++i) x.push_back(values_of<float>(group.rank(), 3000));
    for (auto& values : x) works.push_back(group.start_all_reduce(stream, tensor_of(values), "x"));
    std::vector<float> beside = values_of<float>(group.rank(), 3000);
    group.all_reduce(stream, tensor_of(beside), "beside");
    for (Work& work : works) work.wait(stream);
    for (const auto& values : x) EXPECT_TRUE(same_bits(values, beside));
    EXPECT_EQ(group.traffic(Verb::all_reduce).calls, group.size() > 1 ? kMany + 1 : 0);
  });
}

TEST_P(GroupTest, CountsTheBytesOfTheFormulas) {
  on_ranks([](Group& group) {
    Stream stream;
    const int64_t n = group.size(), me = group.rank(), each = 60, total = each * n;
    std::vector<float> x(static_cast<size_t>(total)), part(static_cast<size_t>(each)), y = x;
    group.all_reduce(stream, tensor_of(x), "x");
    group.scatter_sum(stream, tensor_of(part), tensor_of(x), "x");
    group.gather(stream, tensor_of(x), tensor_of(part), "x");
    group.all_to_all(stream, tensor_of(y), tensor_of(x), "x");
    group.broadcast(stream, tensor_of(x), 0, "x");
    group.barrier(stream, "x");
    if (n > 1 && me == 0) group.send(stream, tensor_of(x), 1, "x");
    if (me == 1) group.recv(stream, tensor_of(x), 0, "x");
    const int64_t share = (n - 1) * each * 4;  // bytes: (n-1)/n of the tensor
    EXPECT_EQ(group.traffic(Verb::all_reduce).bytes_sent, 2 * share);
    EXPECT_EQ(group.traffic(Verb::scatter_sum).bytes_sent, share);
    EXPECT_EQ(group.traffic(Verb::gather).bytes_sent, share);
    EXPECT_EQ(group.traffic(Verb::all_to_all).bytes_sent, share);
    EXPECT_EQ(group.traffic(Verb::broadcast).bytes_sent,
              me == 0 ? 2 * share : std::max<int64_t>(n - 2, 0) * each * 4);
    EXPECT_EQ(group.traffic(Verb::barrier).bytes_sent, n - 1);
    EXPECT_EQ(group.traffic(Verb::send).bytes_sent, n > 1 && me == 0 ? total * 4 : 0);
    EXPECT_EQ(group.traffic(Verb::recv).calls, me == 1 ? 1 : 0);
    EXPECT_EQ(group.traffic(Verb::gather).seconds > 0, n > 1);
  });
}

TEST_P(GroupTest, SplitMakesGroupsByColourAndOrdersThemByKey) {
  on_ranks([](Group& group) {
    Stream stream;
    const int me = group.rank();
    const auto parity = group.split(stream, me % 2, -me, "parity");
    const int members = (group.size() + 1 - me % 2) / 2;
    ASSERT_EQ(parity->size(), members);
    EXPECT_EQ(parity->name(), "parity");
    std::vector<int32_t> in = {me}, out(static_cast<size_t>(members));
    parity->gather(stream, tensor_of(out), tensor_of(in), "in");
    for (int i = 0; i < members; ++i) EXPECT_EQ(out[size_t(members - 1 - i)], 2 * i + me % 2);
    EXPECT_EQ(out[size_t(parity->rank())], me);

    const auto some = group.split(stream, me == 0 ? -1 : 0, 0, "some");
    EXPECT_EQ(some == nullptr, me == 0);
    // Groups that share ranks do not take one another's messages.
    std::vector<float> a = {1}, b = {10};
    if (some) {
      Work work = some->start_all_reduce(stream, tensor_of(a), "a");
      group.all_reduce(stream, tensor_of(b), "b");
      work.wait(stream);
      EXPECT_EQ(a[0], float(some->size()));
    } else {
      group.all_reduce(stream, tensor_of(b), "b");
    }
    EXPECT_EQ(b[0], 10.0f * float(group.size()));
  });
}

TEST_P(GroupTest, RefusesWhatDoesNotFitBeforeAnyoneWaits) {
  on_ranks([](Group& group) {
    Stream stream;
    std::vector<float> x(5), y(7);
    std::vector<int32_t> whole(5);
    EXPECT_THROW(group.gather(stream, tensor_of(y), tensor_of(x), "x"), Error);
    EXPECT_THROW(group.scatter_sum(stream, tensor_of(y), tensor_of(x), "x"), Error);
    EXPECT_THROW(group.all_reduce(stream, tensor_of(whole), "whole"), Error);
    EXPECT_THROW(group.broadcast(stream, tensor_of(x), group.size(), "x"), Error);
    EXPECT_THROW(group.send(stream, tensor_of(x), group.rank(), "x"), Error);
    const std::vector<int64_t> negative = {6, -1};
    EXPECT_THROW(group.gather(stream, tensor_of(x), tensor_of(x), "x", negative), Error);
    group.barrier(stream, "after the refusals");
  });
}

TEST_P(GroupTest, SamplesOfEveryVerbAreTheBitsOfTheThreads) {
  const auto results = [&](Talk talk) {
    std::vector<std::vector<float>> out(static_cast<size_t>(n()));
    spawn(
        n(),
        [&](World& world) {
          Stream stream;
          Group& group = world.group();
          std::vector<float> x = values_of<float>(group.rank(), 4001);
          group.all_reduce(stream, tensor_of(x), "x");
          std::vector<float> y = values_of<float>(group.rank() + 9, 4001);
          group.broadcast(stream, tensor_of(y), group.size() - 1, "y");
          x.insert(x.end(), y.begin(), y.end());
          out[size_t(group.rank())] = x;
        },
        kRankTimeout, talk);
    return out;
  };
  const auto threads = results(Talk::memory), gloo = results(Talk::gloo);
  for (int rank = 0; rank < n(); ++rank) {
    EXPECT_TRUE(same_bits(threads[size_t(rank)], gloo[size_t(rank)]));
    EXPECT_TRUE(same_bits(threads[size_t(rank)], threads[0]));
  }
}

std::string name_of_talk(const ::testing::TestParamInfo<Talk>& of) {
  return of.param == Talk::memory ? "Threads" : "Gloo";
}

class FailingGroup : public ::testing::TestWithParam<Talk> {
 protected:
  std::string error_of(int n, const std::function<void(Group&, Stream&)>& fn,
                       milliseconds timeout = kShort) {
    try {
      spawn(
          n,
          [&](World& world) {
            Stream stream;
            fn(world.group(), stream);
          },
          timeout, GetParam());
    } catch (const std::exception& error) {
      return error.what();
    }
    return "no error";
  }
};

INSTANTIATE_TEST_SUITE_P(All, FailingGroup, ::testing::Values(Talk::memory, Talk::gloo),
                         name_of_talk);

// Stays until the others have given up; it is in no verb meanwhile.
void stay_away() { std::this_thread::sleep_for(4 * kShort); }

TEST_P(FailingGroup, TimeoutNamesTheVerbTheTensorAndWhoDidNotCome) {
  const std::string error = error_of(4, [](Group& group, Stream& stream) {
    std::vector<float> x(1000);
    if (group.rank() == 2) return stay_away();
    group.all_reduce(stream, tensor_of(x), "layers.3.norm.weight");
  });
  EXPECT_THAT(error, AllOf(HasSubstr("all_reduce of layers.3.norm.weight (all ranks)"),
                           HasSubstr("rank 2 did not come within 0.3 s")));
}

TEST_P(FailingGroup, TimeoutNamesAllWhoDidNotCome) {
  const std::string error = error_of(4, [](Group& group, Stream& stream) {
    if (group.rank() == 1 || group.rank() == 3) return stay_away();
    group.barrier(stream, "start");
  });
  EXPECT_THAT(error, HasSubstr("rank 1, 3 did not come"));
}

TEST_P(FailingGroup, TimeoutNamesTheRankAmongAllRanks) {
  const std::string error = error_of(
      4,
      [](Group& group, Stream& stream) {
        const auto pair = group.split(stream, group.rank() / 2, 0, "pair");
        if (group.rank() == 3) return stay_away();
        if (group.rank() == 2) pair->barrier(stream, "half");
      },
      kShort);
  EXPECT_THAT(error, HasSubstr("barrier of half (pair) on rank 2: rank 3 did not come"));
}

TEST_P(FailingGroup, SidesThatDisagreeDoNotMeet) {
  const std::string verbs = error_of(2, [](Group& group, Stream& stream) {
    std::vector<float> x(10);
    if (group.rank() == 0) return group.all_reduce(stream, tensor_of(x), "x");
    group.broadcast(stream, tensor_of(x), 1, "x");
  });
  EXPECT_THAT(verbs, HasSubstr("did not come"));
  const std::string sizes = error_of(2, [](Group& group, Stream& stream) {
    std::vector<float> x(group.rank() == 0 ? 10 : 12);
    group.all_reduce(stream, tensor_of(x), "x");
  });
  EXPECT_THAT(sizes, HasSubstr("did not come"));
}

TEST_P(FailingGroup, ARankThatThrowsEndsTheOthersAtOnce) {
  std::atomic<int> ended = 0;
  const std::string error = error_of(
      4,
      [&](Group& group, Stream& stream) {
        std::vector<float> x(1000);
        try {
          group.all_reduce(stream, tensor_of(x), "x");
          if (group.rank() != 1) group.all_reduce(stream, tensor_of(x), "y");
        } catch (const Error& got) {
          EXPECT_THAT(got.what(), AllOf(HasSubstr("all_reduce of "),
                                        HasSubstr("rank 1 failed: rank 1 has run out of data")));
          ++ended;
        }
        require(group.rank() != 1, "rank 1 has run out of data");
        EXPECT_THROW(group.barrier(stream, "after the end"), Error);
      },
      std::chrono::hours(1));
  EXPECT_EQ(error, "rank 1 has run out of data");
  EXPECT_EQ(ended, 3);
}

TEST_P(FailingGroup, ARankThatThrowsDoesNotWaitForWhatItStarted) {
  const std::string error = error_of(
      3,
      [&](Group& group, Stream& stream) {
        std::vector<float> x(1000), y(1000);
        Work sum = group.start_all_reduce(stream, tensor_of(x), "x");
        Work message =
            group.start_send(stream, tensor_of(y), (group.rank() + 1) % 3, "never received");
        sum.wait(stream);
        require(group.rank() != 2, "rank 2 is broken");
        Work never = group.start_all_reduce(stream, tensor_of(x), "x");
        never.wait(stream);
      },
      std::chrono::hours(1));
  EXPECT_EQ(error, "rank 2 is broken");
}

TEST_P(FailingGroup, AbortWakesWhoeverWaits) {
  const std::string error = error_of(
      3,
      [&](Group& group, Stream& stream) {
        std::vector<float> x(1000);
        if (group.rank() == 0) return group.abort("the operator said so");
        if (group.rank() == 1) return group.recv(stream, tensor_of(x), 2, "x");
        group.recv(stream, tensor_of(x), 1, "x");
      },
      std::chrono::hours(1));
  EXPECT_THAT(error, HasSubstr("the operator said so"));
}

TEST(ReduceTree, TermsUpToAPowerOfTwoAreOneSubtree) {
  // 1 + 2^-30 + ... is lost or kept in f32 by the order alone.
  const std::vector<float> terms = {1e8f, 1, -1e8f, 1, 3, 4, 5};
  std::vector<const float*> all;
  for (const float& term : terms) all.push_back(&term);
  const auto add = [](float a, float b) { return a + b; };
  float whole = 0, left = 0, right = 0;
  reduce_tree<float>(&whole, all, 1, add);
  reduce_tree<float>(&left, std::span(all).first(4), 1, add);
  reduce_tree<float>(&right, std::span(all).subspan(4), 1, add);
  EXPECT_EQ(whole, left + right);
  EXPECT_EQ(left, (1e8f + 1) + (-1e8f + 1));
}

}  // namespace
}  // namespace limpid
