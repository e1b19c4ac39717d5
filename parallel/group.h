#pragma once

#include <array>
#include <chrono>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "core/stream.h"
#include "core/tensor.h"

namespace limpid {

class Transport;

enum class Verb { all_reduce, gather, scatter_sum, broadcast, all_to_all, send, recv, barrier };
inline constexpr int kVerbs = 8;
std::string to_string(Verb);

enum class Reduce { sum, max };

// Elements of each rank, in the order of ranks; none: all ranks have equally many.
using Counts = std::span<const int64_t>;

// What one rank gave to one verb of one group so far.
struct Traffic {
  int64_t calls = 0;
  int64_t bytes_sent = 0;
  double seconds = 0;  // in the verb; of one that was started, until it was done
};

// One call of a verb.
struct Call {
  Verb verb;
  Tensor out, in;                              // all_reduce and broadcast: out; send: in; recv: out
  std::vector<int64_t> out_counts, in_counts;  // elements of out and in that are each rank's
  Reduce reduce = Reduce::sum;
  int peer = 0;  // root of a broadcast, or the other side of send and recv
  const char* what = "";
};

// Something that was started. Its tensors must stay, unread and unwritten, until wait(); a Work
// that ends without it waits too.
class Work {
 public:
  class Rest {
   public:
    virtual ~Rest() = default;
    virtual void wait(Stream&) = 0;
    // An Error is under way on this rank, so what was started will not be met: wait() is short.
    virtual void give_up() = 0;
  };

  Work() = default;  // nothing to wait for
  explicit Work(std::unique_ptr<Rest> rest) : rest_(std::move(rest)) {}
  ~Work();
  Work(Work&&) noexcept = default;
  Work& operator=(Work&&) = delete;
  // What is given to the stream afterwards sees the result. Throws Error as the verb does.
  void wait(Stream&);

 private:
  std::unique_ptr<Rest> rest_;
};

// Ranks that talk. Every rank of the group calls the same verbs in the same order with the same
// sizes, from one thread. `what` names the tensor in errors and must outlive the call.
//
// A sum is taken in one fixed binary tree over the ranks: neighbours first, then pairs, then pairs
// of pairs. bf16 is summed in f32 and rounded once. So the bits are those of every implementation.
// A verb whose time is over throws Error with its name, `what` and the rank that did not come;
// this ends the group, and all others that share its connections, for good.
class Group {
 public:
  virtual ~Group() = default;
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  const std::string& name() const { return name_; }

  // tensor = sum (or maximum, where any NaN wins) over ranks. f32, bf16, f64.
  void all_reduce(Stream&, Tensor tensor, const char* what, Reduce = Reduce::sum);
  // out = the ranks' `in` one after the other; any dtype. `in` may be its own place in out.
  void gather(Stream&, Tensor out, Tensor in, const char* what, Counts = {});
  // out = this rank's part of the sum of `in` over ranks. f32, bf16, f64. out may be that part of
  // `in`.
  void scatter_sum(Stream&, Tensor out, Tensor in, const char* what, Counts = {});
  // tensor = the root's; any dtype.
  void broadcast(Stream&, Tensor tensor, int root, const char* what);
  // Part r of out = part rank() of rank r's `in`; any dtype.
  void all_to_all(Stream&, Tensor out, Tensor in, const char* what, Counts out_counts = {},
                  Counts in_counts = {});
  // One tensor from rank to rank, in the order of the calls between the two. A send ends when the
  // other side receives, so two ranks that both send first wait for ever: start one of them.
  void send(Stream&, Tensor, int to, const char* what);
  void recv(Stream&, Tensor, int from, const char* what);
  void barrier(Stream&, const char* what);

  // The same beside what the caller does next. The collectives run in the order started.
  [[nodiscard]] Work start_all_reduce(Stream&, Tensor, const char* what, Reduce = Reduce::sum);
  [[nodiscard]] Work start_gather(Stream&, Tensor out, Tensor in, const char* what, Counts = {});
  [[nodiscard]] Work start_scatter_sum(Stream&, Tensor out, Tensor in, const char* what,
                                       Counts = {});
  [[nodiscard]] Work start_send(Stream&, Tensor, int to, const char* what);
  [[nodiscard]] Work start_recv(Stream&, Tensor, int from, const char* what);

  // Ranks that give the same colour become a group, in the order of (key, rank); none for a
  // negative colour. All ranks of this group call it.
  std::unique_ptr<Group> split(Stream&, int colour, int key, std::string name);

  // Ends this group on all ranks, and all groups that share its connections: whoever waits throws
  // Error with the reason.
  virtual void abort(const std::string& reason) = 0;

  Traffic traffic(Verb) const;

 protected:
  Group(int rank, int size, std::string name) : rank_(rank), size_(size), name_(std::move(name)) {}
  void count(Verb, int64_t bytes_sent, double seconds);

 private:
  // Both have checked arguments and more than one rank.
  virtual void run(Stream&, const Call&) = 0;
  virtual Work start(Stream&, Call) = 0;
  // members: ranks of this group, in the order of the new one.
  virtual std::unique_ptr<Group> make_child(Stream&, std::vector<int> members, int colours,
                                            int colour, std::string name) = 0;

  void check(const Call&) const;
  void do_now(Stream&, Call);
  Work do_later(Stream&, Call);

  int rank_, size_;
  std::string name_;
  mutable std::mutex mutex_;
  std::array<Traffic, kVerbs> traffic_;
};

// Elements of part `part` of a tensor cut into `parts` parts as even as can be, larger ones first.
inline int64_t even_part(int64_t numel, int parts, int part) {
  return numel / parts + (part < numel % parts ? 1 : 0);
}

// One rank alone: every verb is a copy, or nothing.
std::unique_ptr<Group> lone_group(std::string name);

// All ranks of a transport, on the CPU. The transport must live longer.
std::unique_ptr<Group> host_group(Transport&, int rank, int size, std::string name,
                                  std::chrono::milliseconds timeout);

}  // namespace limpid
