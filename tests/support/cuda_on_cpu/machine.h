#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <string>
#include <vector>

// A GPU on the CPU: runs the blocks of a kernel one after the other, the threads of a block as
// fibers that give way at barriers and at the instructions of a warp. It finds threads that wait
// for ever, shared memory used before it is written or beyond its end, and two threads on one word
// of it with no barrier between.
namespace limpid::cuda_on_cpu {

struct Dim {
  unsigned x = 1, y = 1, z = 1;
};

// Where the running thread stands.
struct Position {
  Dim thread, block, block_dim, grid_dim;
  int lane() const { return int(thread.x) % 32; }
};
const Position& here();

// Runs one kernel; `thread` is called for each of its threads. Returns what went wrong first, or
// nothing. Blocks run in another order every time.
std::string run(Dim grid, Dim block, size_t shared_bytes, const std::function<void()>& thread);

// The running kernel did what it must not; run() will return the first such text.
void fault(const std::string& text);

// All threads of the block that have not ended wait for each other.
void barrier(const std::source_location& where);

// What one lane gives to the others of its warp.
struct LaneValue {
  uint32_t words[8] = {};
};
// All 32 lanes give a value and get all 32, valid until the lane's next exchange. With `orders`,
// what a lane did to memory before comes before what the others do after, as __syncwarp() says and
// a shuffle does not.
const LaneValue* exchange(uint32_t mask, const LaneValue&, bool orders,
                          const std::source_location& where);

// The shared memory of the running block. Accesses are checked against its size and against those
// of other threads since the last barrier.
class SharedMemory {
 public:
  void begin_block(size_t bytes);
  // Pointer to bytes [begin, begin + count), or to a place where they do no harm.
  const std::byte* read(size_t begin, size_t count);
  std::byte* write(size_t begin, size_t count);

 private:
  static constexpr size_t kGranule = 2;  // bytes: the smallest element
  struct Access {
    uint32_t epoch = 0;  // of barriers; 0: never
    uint32_t sync = 0;   // of the warp's own barriers
    int16_t thread = -1;
    bool others_of_warp = false, other_warps = false;
  };
  struct Granule {
    Access write, read;
  };
  bool inside(size_t begin, size_t count);

  std::vector<std::byte> bytes_;
  std::vector<Granule> granules_;
  std::byte nowhere_[64] = {};
};
SharedMemory& shared();

// The copies of cp.async that the running thread has begun and not yet waited for.
struct PendingCopy {
  size_t to;
  uint32_t words[4];
};
void begin_copy(const PendingCopy&);
void commit_copies();
void wait_copies(int groups);

}  // namespace limpid::cuda_on_cpu
