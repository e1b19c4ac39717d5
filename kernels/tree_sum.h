#pragma once

#include <array>
#include <vector>

#include "kernels/split.h"

namespace limpid {

// values[0] = all of them, added as a binary tree: 2i and 2i + 1 into i, a last one alone stays.
template <size_t N>
void add_tree(std::array<double, N>* values, int64_t count) {
  for (; count > 1; count = (count + 1) / 2) {
    for (int64_t i = 0; i < count / 2; ++i)
      for (size_t k = 0; k < N; ++k) values[i][k] = values[2 * i][k] + values[2 * i + 1][k];
    if (count % 2) values[count / 2] = values[count - 1];
  }
}

// The sums that f(begin, end) returns for each block of kBlock elements, in one binary tree.
template <size_t N, class F>
std::array<double, N> tree_sum(int64_t count, F f) {
  constexpr int64_t kBlocks = 16;  // a subtree that one thread adds
  std::vector<std::array<double, N>> tops(size_t(count / (kBlocks * kBlock) + 1));
  for_pieces(count, kBlocks * kBlock, [&](int64_t begin, int64_t end) {
    std::array<double, N> blocks[kBlocks];
    int64_t n = 0;
    for (int64_t at = begin; at < end; at += kBlock)
      blocks[n++] = f(at, std::min(end, at + kBlock));
    add_tree(blocks, n);
    tops[size_t(begin / (kBlocks * kBlock))] = blocks[0];
  });
  add_tree(tops.data(), (count + kBlocks * kBlock - 1) / (kBlocks * kBlock));
  return tops[0];
}

// The sum of f(x[i]) over a block: four running sums, one a quarter, then what is left.
template <class T, class F>
double block_sum(const T* x, int64_t count, F f) {
  const int64_t quarter = count / 4;
  double a = 0, b = 0, c = 0, d = 0;
#pragma omp simd reduction(+ : a, b, c, d)
  for (int64_t i = 0; i < quarter; ++i) {
    a += f(double(x[i])), b += f(double(x[quarter + i]));
    c += f(double(x[2 * quarter + i])), d += f(double(x[3 * quarter + i]));
  }
  for (int64_t i = 4 * quarter; i < count; ++i) a += f(double(x[i]));
  return (a + b) + (c + d);
}

template <class T>
double block_squares(const T* x, int64_t count) {
  return block_sum(x, count, [](double value) { return value * value; });
}

}  // namespace limpid
