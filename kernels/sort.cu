#include <bit>

#include "core/launch.h"
#include "kernels/cuda/reduce.h"
#include "kernels/cuda/sort.h"

namespace limpid::cuda {
namespace {

constexpr int kBits = 8, kDigits = 1 << kBits;
constexpr int kChunks = 16;  // of 32 keys, which one warp has
constexpr int kThreads = 128, kWarps = kThreads / kWarp;
constexpr int kScanThreads = 1024, kScanWarps = kScanThreads / kWarp;
constexpr int64_t kShared = kWarps * kDigits * int64_t(sizeof(int32_t));

// One byte of the keys, in the order that the bytes before it gave.
struct Pass {
  const int32_t *keys, *from;  // from: null before the first pass
  int64_t n;
  int shift;
  int64_t warps;

  __device__ int32_t index(int64_t i) const { return from ? from[i] : int32_t(i); }
};

// The running warp's keys, 32 at a time: f(index, digit, lanes with the same digit), digit kDigits
// and index -1 beyond the end.
template <class F>
__device__ void for_keys(const Pass& a, int64_t warp, F f) {
  for (int chunk = 0; chunk < kChunks; ++chunk) {
    const int64_t i = (warp * kChunks + chunk) * kWarp + int(threadIdx.x) % kWarp;
    const int32_t index = i < a.n ? a.index(i) : -1;
    const int digit = i < a.n ? int(uint32_t(a.keys[index]) >> a.shift & (kDigits - 1)) : kDigits;
    f(index, digit, __match_any_sync(0xffffffffu, digit));
  }
}

// Adds a chunk's digits to the warp's counters: the first lane of equal ones adds for all.
__device__ void count(const Shared<int32_t>& counters, int digit, uint32_t same) {
  const bool first = __ffs(int(same)) - 1 == int(threadIdx.x) % kWarp;
  if (first && digit < kDigits) counters[digit] += __popc(same);
  __syncwarp();
}

// counts (kDigits,warps): how often each warp has each digit.
__global__ void __launch_bounds__(kThreads) count_digits_kernel(int32_t* counts, Pass a) {
  const int lane = int(threadIdx.x) % kWarp, slot = int(threadIdx.x) / kWarp;
  const int64_t warp = int64_t(blockIdx.x) * kWarps + slot;
  if (warp >= a.warps) return;
  const Shared<int32_t> counters = shared_memory<int32_t>() + slot * kDigits;
  for (int d = lane; d < kDigits; d += kWarp) counters[d] = 0;
  __syncwarp();
  for_keys(a, warp, [&](int32_t, int digit, uint32_t same) { count(counters, digit, same); });
  for (int d = lane; d < kDigits; d += kWarp) counts[d * a.warps + warp] = counters[d];
}

// Each count becomes the sum of those before it. One block: a thread has a run of them.
__global__ void __launch_bounds__(kScanThreads) add_before_kernel(int32_t* counts, int64_t n) {
  const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp;
  const int64_t run = (n + kScanThreads - 1) / kScanThreads;
  int32_t* const begin = counts + std::min(n, int64_t(threadIdx.x) * run);
  int32_t* const end = counts + std::min(n, (int64_t(threadIdx.x) + 1) * run);
  int32_t mine = 0;
  for (const int32_t* c = begin; c < end; ++c) mine += *c;
  int32_t up_to = mine;
  for (int step = 1; step < kWarp; step *= 2) {
    const int32_t other = __shfl_up_sync(0xffffffffu, up_to, step);
    if (lane >= step) up_to += other;
  }
  const Shared<int32_t> warps = shared_memory<int32_t>();
  if (lane == kWarp - 1) warps[warp] = up_to;
  __syncthreads();
  int32_t before = up_to - mine;
  for (int w = 0; w < warp; ++w) before += warps[w];
  for (int32_t* c = begin; c < end; ++c) {
    const int32_t count_here = *c;
    *c = before;
    before += count_here;
  }
}

// Every index goes to its place: offsets (kDigits,warps) tell where a warp's digits begin.
__global__ void __launch_bounds__(kThreads)
    place_indices_kernel(int32_t* to, const int32_t* offsets, Pass a) {
  const int lane = int(threadIdx.x) % kWarp, slot = int(threadIdx.x) / kWarp;
  const int64_t warp = int64_t(blockIdx.x) * kWarps + slot;
  if (warp >= a.warps) return;
  const Shared<int32_t> next = shared_memory<int32_t>() + slot * kDigits;
  for (int d = lane; d < kDigits; d += kWarp) next[d] = offsets[d * a.warps + warp];
  __syncwarp();
  for_keys(a, warp, [&](int32_t index, int digit, uint32_t same) {
    const uint32_t before = same & ((1u << lane) - 1);
    if (digit < kDigits) to[next[digit] + __popc(before)] = index;
    __syncwarp();
    count(next, digit, same);
  });
}

int64_t warps_for(int64_t n) { return (n + kChunks * kWarp - 1) / (kChunks * kWarp); }

}  // namespace

int64_t sort_scratch(int64_t n) { return n + warps_for(n) * kDigits; }

void sort_indices(Stream& stream, int32_t* order, const int32_t* keys, int64_t n, int64_t limit,
                  int32_t* scratch) {
  const int64_t warps = warps_for(n), blocks = (warps + kWarps - 1) / kWarps;
  int32_t *const counts = scratch + n, *const buffers[2] = {order, scratch};
  const int passes = std::max(1, int(std::bit_width(uint64_t(limit - 1)) + kBits - 1) / kBits);
  Pass pass = {.keys = keys, .from = nullptr, .n = n, .shift = 0, .warps = warps};
  for (int p = passes - 1; p >= 0; --p) {
    int32_t* const to = buffers[p % 2];  // the last goes to order
    launch(stream, {"count_digits", blocks, kThreads, kShared}, count_digits_kernel, counts, pass);
    launch(stream, {"add_before", n > 0, kScanThreads, kScanWarps * int64_t(sizeof(int32_t))},
           add_before_kernel, counts, kDigits * warps);
    launch(stream, {"place_indices", blocks, kThreads, kShared}, place_indices_kernel, to, counts,
           pass);
    pass.from = to;
    pass.shift += kBits;
  }
}

}  // namespace limpid::cuda
