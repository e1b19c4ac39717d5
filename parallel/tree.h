#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "core/dtype.h"

namespace limpid {

// out[i] = the terms' elements i taken together in one binary tree: neighbours first, then pairs,
// then pairs of pairs; a term without a partner waits for the next level. So terms [0, 2^k) are
// always one subtree, whoever adds them. In Accum<T>, rounded once. out may be one of the terms.
template <class T, class F>
void reduce_tree(T* out, std::span<const T* const> terms, int64_t count, F combine) {
  using A = Accum<T>;
  constexpr int64_t kBlock = 256;
  const size_t n = terms.size();
  std::vector<A> block(n * size_t(kBlock));
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t length = std::min(kBlock, count - begin);
    const auto row = [&](size_t i) { return block.data() + int64_t(i) * kBlock; };
    for (size_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < length; ++j) row(i)[j] = A(terms[i][begin + j]);
    for (size_t stride = 1; stride < n; stride *= 2)
      for (size_t i = 0; i + stride < n; i += 2 * stride) {
        A* const to = row(i);
        const A* const from = row(i + stride);
        for (int64_t j = 0; j < length; ++j) to[j] = combine(to[j], from[j]);
      }
    for (int64_t j = 0; j < length; ++j) out[begin + j] = T(block[size_t(j)]);
  }
}

}  // namespace limpid
