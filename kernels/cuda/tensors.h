#pragma once

#include <span>

#include "core/launch.h"
#include "kernels/cuda/reduce.h"

// Kernels over many tensors: one launch serves as many as its arguments hold, a block of threads
// for each tile of 4096 elements. Tiles begin where the CPU's blocks do (kernels/split.h).
namespace limpid::cuda {

inline constexpr int kTile = 4096, kTileThreads = 256;

// What a kernel knows of its tensors, passed by value. An Entry has a count of elements.
template <class Entry>
struct TensorTable {
  static constexpr int kMost = (3840 - 8) / int(sizeof(Entry) + sizeof(int));  // of 4096 bytes
  int tensors = 0;
  int first[kMost + 1] = {};  // tile of each tensor; then how many tiles there are
  Entry at[kMost] = {};

  constexpr int tiles() const { return first[tensors]; }
  void add(const Entry& entry) {
    at[tensors] = entry;
    first[tensors + 1] = first[tensors] + int((entry.count + kTile - 1) / kTile);
    ++tensors;
  }
};

// Calls f(table, i) for tables of items[i], items[i + 1] ...: items that follow one another and are
// of one kind.
template <class Entry, class Item, class KindOf, class EntryOf, class F>
void for_tables(std::span<const Item> items, KindOf kind_of, EntryOf entry_of, F f) {
  for (size_t begin = 0, end = 0; begin < items.size(); begin = end) {
    TensorTable<Entry> table;
    while (end < items.size() && table.tensors < table.kMost &&
           kind_of(items[end]) == kind_of(items[begin]))
      table.add(entry_of(items[end++]));
    f(table, begin);
  }
}

// A part of one tensor.
struct Tile {
  int tensor;
  int64_t begin;
  int count;
};

template <class Entry>
__device__ Tile tile_of(const TensorTable<Entry>& table, int tile) {
  int low = 0;  // the last tensor that begins at the tile or before it
  for (int high = table.tensors; high - low > 1;) {
    const int middle = (low + high) / 2;
    if (table.first[middle] <= tile)
      low = middle;
    else
      high = middle;
  }
  const int64_t begin = int64_t(tile - table.first[low]) * kTile,
                left = table.at[low].count - begin;
  return {low, begin, left < kTile ? int(left) : kTile};
}

// f(i, n) for the running thread's packs of a tile: elements i ... i + n - 1, n <= kSize.
template <int kSize, class F>
__device__ void for_packs(const Tile& tile, F f) {
  for (int at = int(threadIdx.x) * kSize; at < tile.count; at += kTileThreads * kSize)
    f(tile.begin + at, tile.count - at < kSize ? tile.count - at : kSize);
}

template <class T, int kSize>
__device__ bool whole(const T* data, int n) {
  return n == kSize && reinterpret_cast<uintptr_t>(data) % sizeof(Pack<T, kSize>) == 0;
}

// The n values at `from`, then zeros.
template <int kSize, class T>
__device__ Pack<T, kSize> load_part(const T* from, int n) {
  if (whole<T, kSize>(from, n)) return load<kSize>(from);
  Pack<T, kSize> out = {};
#pragma unroll
  for (int i = 0; i < kSize; ++i)
    if (i < n) out.at[i] = from[i];
  return out;
}
template <class T, int kSize>
__device__ void store_part(T* to, const Pack<T, kSize>& pack, int n) {
  if (whole<T, kSize>(to, n)) return store(to, pack);
#pragma unroll
  for (int i = 0; i < kSize; ++i)
    if (i < n) to[i] = pack.at[i];
}

inline constexpr int kTreeThreads = 1024;

// out[tensor * sums + k] = the sum of its tiles' partials[k * tiles + tile], in the binary tree of
// add_tree() in kernels/tree_sum.h. One block a sum, 32 leaves a warp: the sum of a subtree takes
// the place of its first leaf.
template <class Entry>
__global__ void __launch_bounds__(kTreeThreads)
    add_trees_kernel(double* out, double* partials, const TensorTable<Entry> table, int sums) {
  const int tensor = int(blockIdx.x) / sums, k = int(blockIdx.x) % sums;
  const int first = table.first[tensor], count = table.first[tensor + 1] - first;
  double* leaves = partials + int64_t(k) * table.tiles() + first;
  const int lane = int(threadIdx.x) % kWarp;
  for (int64_t stride = 1; stride < count; stride *= kWarp) {
    for (int64_t warp = int(threadIdx.x) / kWarp; warp * kWarp * stride < count;
         warp += kTreeThreads / kWarp) {
      const int64_t leaf = (warp * kWarp + lane) * stride;
      double sum = leaf < count ? leaves[leaf] : 0;
      for (int step = 1; step < kWarp; step *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
      if (lane == 0) leaves[leaf] = sum;
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) out[blockIdx.x] = count > 0 ? leaves[0] : 0;
}

template <class Entry>
void add_trees(Stream& stream, double* out, double* partials, const TensorTable<Entry>& table,
               int sums) {
  launch(stream, {"add_trees", table.tensors * sums, kTreeThreads}, add_trees_kernel<Entry>, out,
         partials, table, sums);
}

}  // namespace limpid::cuda
