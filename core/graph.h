#pragma once

#include <functional>
#include <memory>

#include "core/stream.h"

namespace limpid {

// A point in a stream's order that others can wait for. On the CPU it is reached at once.
class Fence {
 public:
  // The point is where the stream is now; it replaces the one before.
  void record(Stream&);
  // What is given to this stream from now on waits for the point.
  void hold(Stream&) const;
  // The host waits. At once where nothing was recorded.
  void wait() const;

 private:
  struct Free {
    void operator()(void*) const;
  };
  std::unique_ptr<void, Free> event_;
};

// Work for a GPU, recorded once and given again at the price of one launch (a CUDA graph).
class Graph {
 public:
  // Records what `work` gives to the stream; nothing of it runs. Addresses and scalars stay as
  // they are now.
  void record(Stream&, const std::function<void()>& work);
  void run(Stream&) const;
  explicit operator bool() const { return graph_ != nullptr; }

 private:
  struct Free {
    void operator()(void*) const;
  };
  std::unique_ptr<void, Free> graph_;
  double flops_ = 0;
};

}  // namespace limpid
