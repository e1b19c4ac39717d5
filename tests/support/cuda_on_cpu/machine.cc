#include "tests/support/cuda_on_cpu/machine.h"

#include <algorithm>
#include <boost/context/fiber.hpp>
#include <cstring>
#include <memory>
#include <numeric>

#include "core/error.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace limpid::cuda_on_cpu {
namespace {

using boost::context::fiber;

constexpr int kWarp = 32;
constexpr size_t kStackBytes = 256 << 10;

// Stacks that ended threads leave to later ones.
class Stacks {
 public:
  boost::context::stack_context take() {
    if (free_.empty()) {
      boost::context::fixedsize_stack allocator(kStackBytes);
      return allocator.allocate();
    }
    const auto stack = free_.back();
    free_.pop_back();
    return stack;
  }
  void give_back(boost::context::stack_context stack) { free_.push_back(stack); }
  ~Stacks() {
    boost::context::fixedsize_stack allocator(kStackBytes);
    for (auto& stack : free_) allocator.deallocate(stack);
  }

 private:
  std::vector<boost::context::stack_context> free_;
};

Stacks& stacks() {
  static Stacks all;
  return all;
}

struct StackOfPool {
  boost::context::stack_context allocate() { return stacks().take(); }
  void deallocate(boost::context::stack_context& stack) { stacks().give_back(stack); }
};

enum class Wait { none, barrier, warp, ended };

struct Thread {
  Position position;
  int index = 0;  // in its block
  Wait wait = Wait::none;
  std::source_location where;
  fiber self, caller;
  const void* stack_bottom = nullptr;
  size_t stack_bytes = 0;
  void* fake_stack = nullptr;
  std::vector<std::vector<PendingCopy>> copies;  // committed groups, then the open one
};

struct Warp {
  LaneValue given[kWarp];
  LaneValue got[2][kWarp];
  int arrived = 0;
  uint32_t exchanges = 0;  // done
  uint32_t syncs = 1;      // of these, such that order memory; from 1
};

struct Block {
  std::vector<std::unique_ptr<Thread>>& threads;
  std::vector<Warp> warps;
  uint32_t epoch = 1;
  Thread* running = nullptr;
  const std::function<void()>* body = nullptr;
  const void* main_bottom = nullptr;
  size_t main_bytes = 0;
};

Block* block = nullptr;
std::string first_fault;
uint32_t launches = 0;

std::string text_of(const std::source_location& where) {
  const std::string file = where.file_name();
  return format("{}:{}", file.substr(file.rfind('/') + 1), where.line());
}
std::string text_of(const Thread& thread) {
  return format("thread {} of block {}", thread.index, thread.position.block.x);
}

void leave_for(Thread& thread) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&thread.fake_stack, block->main_bottom, block->main_bytes);
#endif
  thread.caller = std::move(thread.caller).resume();
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(thread.fake_stack, &block->main_bottom, &block->main_bytes);
#endif
}

// Gives way until somebody sets wait to none.
void give_way(Thread& thread, Wait why, const std::source_location& where) {
  thread.wait = why;
  thread.where = where;
  leave_for(thread);
}

fiber thread_main(fiber&& caller) {
  Thread& thread = *block->running;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &block->main_bottom, &block->main_bytes);
#endif
  thread.caller = std::move(caller);
  (*block->body)();
  thread.wait = Wait::ended;
  thread.copies.clear();
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(nullptr, block->main_bottom, block->main_bytes);
#endif
  return std::move(thread.caller);
}

void resume(Thread& thread) {
  block->running = &thread;
  if (!thread.self) {
    auto stack = stacks().take();
    thread.stack_bytes = stack.size;
    thread.stack_bottom = static_cast<char*>(stack.sp) - stack.size;
    thread.self =
        fiber(std::allocator_arg, boost::context::preallocated(stack.sp, stack.size, stack),
              StackOfPool(), thread_main);
  }
#if defined(__SANITIZE_ADDRESS__)
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, thread.stack_bottom, thread.stack_bytes);
#endif
  thread.self = std::move(thread.self).resume();
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
  block->running = nullptr;
}

// Threads that wait for ever keep their stacks: nothing can be unwound that has no end.
void abandon(std::unique_ptr<Thread> thread) {
  static std::vector<std::unique_ptr<Thread>>* const kept =
      new std::vector<std::unique_ptr<Thread>>;
  kept->push_back(std::move(thread));
}

void report_waiting() {
  std::string text = "threads wait for ever:";
  int told = 0;
  for (const auto& thread : block->threads)
    if (thread->wait != Wait::ended && thread->index % kWarp == 0 && told++ < 8)
      text += format(" {} at {};", text_of(*thread), text_of(thread->where));
  int ended = 0;
  for (const auto& thread : block->threads) ended += thread->wait == Wait::ended;
  fault(format("{} {} of them have ended", text, ended));
}

// Lets every thread that waits at the barrier go on, once all are there.
bool release_barrier() {
  const std::source_location* where = nullptr;
  for (const auto& thread : block->threads) {
    if (thread->wait == Wait::ended) continue;
    if (thread->wait != Wait::barrier) return false;
    if (where && where->line() != thread->where.line())
      fault(format("one barrier is reached at {} and at {}", text_of(*where),
                   text_of(thread->where)));
    where = &thread->where;
  }
  if (!where) return false;
  ++block->epoch;
  for (const auto& thread : block->threads)
    if (thread->wait == Wait::barrier) thread->wait = Wait::none;
  return true;
}

// Runs a warp until all its lanes wait at a barrier or have ended; tells whether any lane ran.
bool run_warp(size_t warp) {
  bool any = false;
  for (bool moved = true; moved;) {
    moved = false;
    for (int lane = 0; lane < kWarp; ++lane) {
      Thread& thread = *block->threads[warp * kWarp + size_t(lane)];
      if (thread.wait != Wait::none) continue;
      resume(thread);
      moved = any = true;
    }
  }
  return any;
}

void run_block(Dim grid, Dim size, Dim at, const std::function<void()>& body) {
  static std::vector<std::unique_ptr<Thread>> all;  // used again by the next block
  all.resize(size.x * size.y * size.z);
  Block state{.threads = all, .warps = {}, .body = &body};
  for (size_t i = 0; i < all.size(); ++i) {
    if (!all[i]) all[i] = std::make_unique<Thread>();
    Thread& thread = *all[i];
    thread.index = int(i);
    thread.wait = Wait::none;
    const unsigned u = unsigned(i);
    thread.position = {{u % size.x, u / size.x % size.y, u / size.x / size.y}, at, size, grid};
  }
  state.warps.resize(all.size() / kWarp);
  block = &state;
  std::vector<size_t> order(state.warps.size());
  std::iota(order.begin(), order.end(), 0);
  if (launches % 2) std::reverse(order.begin(), order.end());
  for (bool running = true; running;) {
    bool moved = false;
    for (size_t warp : order) moved |= run_warp(warp);
    moved |= release_barrier();
    running = false;
    for (const auto& thread : state.threads) running |= thread->wait != Wait::ended;
    if (running && !moved) {
      report_waiting();
      for (auto& thread : state.threads)
        if (thread->wait != Wait::ended) abandon(std::move(thread));
      break;
    }
  }
  block = nullptr;
}

// Whether what `before` did comes before what the running thread does now, whoever does it.
bool ordered(uint32_t epoch, uint32_t sync, int thread, bool others_of_warp, bool other_warps) {
  const Thread& now = *block->running;
  if (epoch < block->epoch) return true;
  if (other_warps) return false;
  if (thread / kWarp != now.index / kWarp) return false;
  if (sync < block->warps[size_t(now.index / kWarp)].syncs) return true;
  return thread == now.index && !others_of_warp;
}

}  // namespace

const Position& here() { return block->running->position; }

void fault(const std::string& text) {
  if (first_fault.empty()) first_fault = text;
}

std::string run(Dim grid, Dim size, size_t shared_bytes, const std::function<void()>& body) {
  first_fault.clear();
  ++launches;
  const unsigned threads = size.x * size.y * size.z;
  if (threads == 0 || threads > 1024 || threads % kWarp != 0)
    return format("a block of {} threads", threads);
  if (shared_bytes > (227u << 10)) return format("{} bytes of shared memory", shared_bytes);
  const size_t blocks = size_t(grid.x) * grid.y * grid.z;
  for (size_t i = 0; i < blocks && first_fault.empty(); ++i) {
    const size_t at = launches % 2 ? blocks - 1 - i : i;
    shared().begin_block(shared_bytes);
    run_block(
        grid, size,
        {unsigned(at % grid.x), unsigned(at / grid.x % grid.y), unsigned(at / grid.x / grid.y)},
        body);
  }
  return first_fault;
}

void barrier(const std::source_location& where) { give_way(*block->running, Wait::barrier, where); }

const LaneValue* exchange(uint32_t mask, const LaneValue& value, bool orders,
                          const std::source_location& where) {
  Thread& thread = *block->running;
  const size_t first = size_t(thread.index / kWarp) * kWarp;
  Warp& warp = block->warps[first / kWarp];
  if (mask != 0xffffffffu)
    fault(format("a warp's instruction at {} names some lanes only", text_of(where)));
  const uint32_t turn = warp.exchanges % 2;
  warp.given[thread.index % kWarp] = value;
  if (++warp.arrived < kWarp) {
    give_way(thread, Wait::warp, where);
    return warp.got[turn];
  }
  for (int lane = 0; lane < kWarp; ++lane) {
    Thread& other = *block->threads[first + size_t(lane)];
    if (other.wait == Wait::warp && other.where.line() != where.line())
      fault(format("one instruction of a warp is reached at {} and at {}", text_of(other.where),
                   text_of(where)));
    if (other.wait == Wait::warp) other.wait = Wait::none;
  }
  std::memcpy(warp.got[turn], warp.given, sizeof warp.given);
  warp.arrived = 0;
  ++warp.exchanges;
  warp.syncs += orders;
  return warp.got[turn];
}

void SharedMemory::begin_block(size_t bytes) {
  bytes_.assign(bytes, std::byte{0xff});  // NaN, in every floating type
  granules_.assign((bytes + kGranule - 1) / kGranule, {});
}

bool SharedMemory::inside(size_t begin, size_t count) {
  if (begin + count <= bytes_.size() && begin + count >= begin) return true;
  fault(format("{} uses byte {} of shared memory, beyond its {}", text_of(*block->running), begin,
               bytes_.size()));
  return false;
}

const std::byte* SharedMemory::read(size_t begin, size_t count) {
  if (!inside(begin, count)) return nowhere_;
  const Thread& now = *block->running;
  const uint32_t sync = block->warps[size_t(now.index / kWarp)].syncs;
  for (size_t g = begin / kGranule; g * kGranule < begin + count; ++g) {
    Granule& granule = granules_[g];
    const Access& w = granule.write;
    if (w.epoch == 0)
      fault(format("{} reads byte {} of shared memory, which nobody has written", text_of(now),
                   g * kGranule));
    else if (!ordered(w.epoch, w.sync, w.thread, w.others_of_warp, w.other_warps))
      fault(
          format("{} reads byte {} of shared memory, which thread {} has written with no "
                 "barrier between",
                 text_of(now), g * kGranule, w.thread));
    Access& r = granule.read;
    if (r.epoch != block->epoch) {
      r = {block->epoch, sync, int16_t(now.index), false, false};
    } else if (r.thread / kWarp != now.index / kWarp) {
      r.other_warps = true;
    } else if (r.sync != sync) {
      r.sync = sync, r.thread = int16_t(now.index), r.others_of_warp = false;
    } else if (r.thread != now.index) {
      r.others_of_warp = true;
    }
  }
  return bytes_.data() + begin;
}

std::byte* SharedMemory::write(size_t begin, size_t count) {
  if (!inside(begin, count)) return nowhere_;
  const Thread& now = *block->running;
  const uint32_t sync = block->warps[size_t(now.index / kWarp)].syncs;
  for (size_t g = begin / kGranule; g * kGranule < begin + count; ++g) {
    Granule& granule = granules_[g];
    for (const Access* a : {&granule.write, &granule.read})
      if (a->epoch != 0 &&
          !ordered(a->epoch, a->sync, a->thread, a->others_of_warp, a->other_warps))
        fault(format(
            "{} writes byte {} of shared memory, which thread {} has {} with no barrier "
            "between",
            text_of(now), g * kGranule, a->thread, a == &granule.write ? "written" : "read"));
    granule.write = {block->epoch, sync, int16_t(now.index), false, false};
  }
  return bytes_.data() + begin;
}

SharedMemory& shared() {
  static SharedMemory memory;
  return memory;
}

void begin_copy(const PendingCopy& copy) {
  auto& groups = block->running->copies;
  if (groups.empty()) groups.emplace_back();
  groups.back().push_back(copy);
}

void commit_copies() { block->running->copies.emplace_back(); }

// The last group is open; of the committed ones all but the newest `groups` must be done.
void wait_copies(int groups) {
  auto& all = block->running->copies;
  while (int(all.size()) - 1 > groups) {
    for (const PendingCopy& copy : all.front())
      std::memcpy(shared().write(copy.to, sizeof copy.words), copy.words, sizeof copy.words);
    all.erase(all.begin());
  }
}

}  // namespace limpid::cuda_on_cpu
