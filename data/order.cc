#include "data/order.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "core/random.h"

namespace limpid {
namespace {

constexpr uint64_t kGolden = 0x9e3779b97f4a7c15u;  // 2^64 / golden ratio
constexpr int kRounds = 8;

std::vector<uint64_t> whole_weights(const std::vector<int64_t>& windows,
                                    const std::vector<double>& weights) {
  std::vector<uint64_t> out(windows.begin(), windows.end());
  double sum = 0;
  for (double weight : weights) sum += weight;
  for (size_t i = 0; i < weights.size(); ++i)
    out[i] = uint64_t(std::max(1.0, std::floor(weights[i] / sum * 0x1p32 + 0.5)));
  return out;
}

// How many of a node's first n samples are its left child's.
int64_t left_share(int64_t n, uint64_t left, uint64_t right) {
  using Wide = unsigned __int128;
  const Wide both = Wide(left) + right;
  return int64_t((Wide(n) * left + both / 2) / both);
}

uint64_t key_of(uint64_t seed, int32_t corpus, int64_t epoch) {
  return mix64(mix64(mix64(seed + kGolden) + uint64_t(corpus)) + uint64_t(epoch));
}

}  // namespace

uint64_t permute(uint64_t i, uint64_t n, uint64_t key) {
  const int half = std::max(1, (int(std::bit_width(n - 1)) + 1) / 2);
  const uint64_t mask = (uint64_t(1) << half) - 1;
  do {
    uint64_t left = i >> half, right = i & mask;
    for (uint64_t round = 1; round <= kRounds; ++round)
      left = std::exchange(right, left ^ (mix64(key ^ mix64(right + round * kGolden)) & mask));
    i = left << half | right;
  } while (i >= n);
  return i;
}

Order::Order(uint64_t seed, std::vector<int64_t> windows, std::vector<double> weights)
    : seed_(seed), windows_(std::move(windows)) {
  require(!windows_.empty(), "the order of samples needs a corpus");
  require(weights.empty() || weights.size() == windows_.size(),
          "there are {} weights for {} corpora: give one each, or none", weights.size(),
          windows_.size());
  for (int64_t count : windows_)
    require(count > 0 && count < int64_t(1) << 56, "a corpus has {} windows", count);
  for (double weight : weights)
    require(std::isfinite(weight) && weight > 0, "a weight is {}, need a number above 0", weight);
  for (uint64_t weight : whole_weights(windows_, weights)) nodes_.push_back({weight, -1, -1});

  const auto heavier = [&](int32_t a, int32_t b) {
    return std::pair(nodes_[size_t(a)].weight, a) > std::pair(nodes_[size_t(b)].weight, b);
  };
  std::vector<int32_t> heap(nodes_.size());
  for (size_t i = 0; i < heap.size(); ++i) heap[i] = int32_t(i);
  std::make_heap(heap.begin(), heap.end(), heavier);
  const auto pop_lightest = [&] {
    std::pop_heap(heap.begin(), heap.end(), heavier);
    const int32_t node = heap.back();
    heap.pop_back();
    return node;
  };
  while (heap.size() > 1) {
    const int32_t left = pop_lightest(), right = pop_lightest();
    nodes_.push_back({nodes_[size_t(left)].weight + nodes_[size_t(right)].weight, left, right});
    heap.push_back(int32_t(nodes_.size()) - 1);
    std::push_heap(heap.begin(), heap.end(), heavier);
  }
}

SampleId Order::sample(int64_t index) const {
  size_t node = nodes_.size() - 1;
  while (nodes_[node].left >= 0) {
    const auto [weight, left, right] = nodes_[node];
    const uint64_t a = nodes_[size_t(left)].weight, b = nodes_[size_t(right)].weight;
    const int64_t lefts = left_share(index, a, b);
    const bool goes_left = left_share(index + 1, a, b) > lefts;
    index = goes_left ? lefts : index - lefts;
    node = size_t(goes_left ? left : right);
  }
  const int64_t windows = windows_[node];
  const int32_t corpus = int32_t(node);
  const int64_t epoch = index / windows;
  const uint64_t window =
      permute(uint64_t(index % windows), uint64_t(windows), key_of(seed_, corpus, epoch));
  return {corpus, epoch, int64_t(window)};
}

int64_t Order::count(int64_t index, int32_t corpus) const {
  std::vector<int64_t> counts(nodes_.size());
  counts.back() = index;
  for (size_t node = nodes_.size(); node-- > windows_.size();) {
    const auto [weight, left, right] = nodes_[node];
    counts[size_t(left)] =
        left_share(counts[node], nodes_[size_t(left)].weight, nodes_[size_t(right)].weight);
    counts[size_t(right)] = counts[node] - counts[size_t(left)];
  }
  return counts[size_t(corpus)];
}

}  // namespace limpid
