#pragma once

#include <omp.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>

// Work split by fixed sizes: the number of threads decides who computes, never what is computed.
namespace limpid {

inline constexpr int64_t kBlock = 4096;  // elements that are worth a thread's while

// f(begin, end) for each piece of `size` of [0, count).
template <class F>
void for_pieces(int64_t count, int64_t size, F f) {
  const int64_t pieces = (count + size - 1) / size;
#pragma omp parallel for schedule(static) if (pieces > 1)
  for (int64_t i = 0; i < pieces; ++i) f(i * size, std::min(count, (i + 1) * size));
}

// f(begin, end) for blocks of elements.
template <class F>
void for_blocks(int64_t count, F f) {
  for_pieces(count, kBlock, f);
}

// f(row) for each row of `cols` elements.
template <class F>
void for_rows(int64_t rows, int64_t cols, F f) {
  for_pieces(rows, std::max<int64_t>(1, kBlock / std::max<int64_t>(1, cols)),
             [&](int64_t begin, int64_t end) {
               for (int64_t r = begin; r < end; ++r) f(r);
             });
}

// sums[k][c] += the sum over rows of what f(row, parts) adds to parts[k][c], c < cols: rows within
// a block of 64 in order, then the blocks in order, each from its own zeros.
template <class A, size_t N, class F>
void sum_over_rows(std::array<A*, N> sums, int64_t rows, int64_t cols, F f) {
  constexpr int64_t kRows = 64;
  const int64_t blocks = (rows + kRows - 1) / kRows, width = int64_t(N) * cols;
  const int threads = int(std::min<int64_t>(omp_get_max_threads(), blocks));
  if (blocks == 0) return;
  const auto scratch = std::make_unique_for_overwrite<A[]>(size_t(threads * width));
#pragma omp parallel num_threads(threads)
  {
    const int64_t team = omp_get_num_threads();
    A* mine = scratch.get() + omp_get_thread_num() * width;
    for (int64_t first = 0; first < blocks; first += team) {
      const int64_t block = first + omp_get_thread_num();
      if (block < blocks) {
        std::array<A*, N> parts;
        for (size_t k = 0; k < N; ++k) parts[k] = mine + int64_t(k) * cols;
        std::fill(mine, mine + width, A(0));
        for (int64_t r = block * kRows; r < std::min(rows, (block + 1) * kRows); ++r) f(r, parts);
      }
#pragma omp barrier
#pragma omp for schedule(static)
      for (int64_t j = 0; j < width; ++j) {
        A& sum = sums[size_t(j / cols)][j % cols];
        for (int64_t i = 0; i < std::min(team, blocks - first); ++i)
          sum += scratch[size_t(i * width + j)];
      }
    }
  }
}

}  // namespace limpid
