#pragma once

#include <cstdint>
#include <vector>

namespace limpid {

// One sample: window w of a corpus covers tokens [w * T, w * T + T + 1).
struct SampleId {
  int32_t corpus = 0;
  int64_t epoch = 0;  // of that corpus
  int64_t window = 0;
  bool operator==(const SampleId&) const = default;
};

// Where i goes in a permutation of [0, n) that the key selects. A balanced Feistel network over the
// least even number of bits (2 at least) that can count n, walked until it is below n (Black &
// Rogaway 2002, "Ciphers with arbitrary finite domains"). With h = half of the bits, G =
// 0x9e3779b97f4a7c15 and all arithmetic modulo 2^64, eight rounds r = 1 ... 8 of
//   (left, right) = (right, left ^ (mix64(key ^ mix64(right + r G)) mod 2^h)),  i = left 2^h +
//   right
uint64_t permute(uint64_t i, uint64_t n, uint64_t key);

// The order of all samples, a pure function of seed and index, without any stored permutation.
// Every window of a corpus comes once in each of its epochs, in an order of its own.
//
// Which corpus: corpora are leaves of a Huffman (1952) tree over whole-number weights; of the first
// n samples of a node with weights a (left) and b (right), floor((n a + floor((a + b) / 2)) / (a +
// b)) are the left one's. Of the first n samples each corpus so has its share to within two. The
// tree joins the two lightest nodes again and again, left the lighter; of equal ones the older is
// lighter, leaves before joined nodes.
// Weights are windows, or floor(2^32 weight / sum of weights + 1/2), at least 1.
// Which window: sample k of a corpus is permute(k mod windows, windows, key) in epoch k / windows,
// key = mix64(mix64(mix64(seed + G) + corpus) + epoch).
class Order {
 public:
  // One number of windows a corpus, above 0. Empty weights: in proportion to the windows, so that
  // every window comes once before any comes twice.
  Order(uint64_t seed, std::vector<int64_t> windows, std::vector<double> weights);
  SampleId sample(int64_t index) const;
  // How many of the first index samples are the corpus's.
  int64_t count(int64_t index, int32_t corpus) const;

 private:
  struct Node {
    uint64_t weight = 0;
    int32_t left = -1, right = -1;  // nodes; -1 in a leaf, which has the number of its corpus
  };
  uint64_t seed_;
  std::vector<int64_t> windows_;
  std::vector<Node> nodes_;  // leaves first, the root last
};

}  // namespace limpid
