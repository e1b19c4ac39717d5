// The verbs on CPU memory, once, over any Transport. Every rank talks to every other directly, so
// that whoever is missing is missed by name.
#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <future>
#include <thread>

#include "core/error.h"
#include "core/memory.h"
#include "parallel/group.h"
#include "parallel/transport.h"
#include "parallel/tree.h"

namespace limpid {

namespace {

using std::chrono::milliseconds;

// How long each of the others is looked at once one rank is missing.
constexpr milliseconds kLook(10);

// Memory that grows to the largest size asked for.
class Scratch {
 public:
  char* take(int64_t bytes) {
    if (bytes > buffer_.bytes()) buffer_ = Buffer(Device::cpu, bytes, "scratch of a group");
    return static_cast<char*>(buffer_.data());
  }

 private:
  Buffer buffer_;
};

// One thread that does things in the order given; what is left is done before it ends.
class Worker {
 public:
  Worker() : thread_([this] { work(); }) {}
  ~Worker() {
    {
      const std::lock_guard lock(mutex_);
      ends_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }
  std::future<void> give(std::packaged_task<void()> task) {
    std::future<void> done = task.get_future();
    {
      const std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    changed_.notify_one();
    return done;
  }

 private:
  void work() {
    for (;;) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return ends_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      std::packaged_task<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::packaged_task<void()>> tasks_;
  bool ends_ = false;
  std::thread thread_;  // last: it uses all of the above
};

// First element of each part, and the end of the last one.
std::vector<int64_t> offsets_of(const std::vector<int64_t>& counts) {
  std::vector<int64_t> offsets = {0};
  for (int64_t count : counts) offsets.push_back(offsets.back() + count);
  return offsets;
}

std::vector<int64_t> even_parts(int64_t numel, int parts) {
  std::vector<int64_t> counts;
  for (int part = 0; part < parts; ++part) counts.push_back(even_part(numel, parts, part));
  return counts;
}

// A tensor as bytes cut into one part a rank.
class Parts {
 public:
  Parts(const Tensor& tensor, const std::vector<int64_t>& counts)
      : data_(static_cast<char*>(tensor.data)),
        each_(size_of(tensor.dtype)),
        at_(offsets_of(counts)) {}
  char* operator[](int rank) const { return data_ + at_[size_t(rank)] * each_; }
  int64_t bytes(int rank) const { return count(rank) * each_; }
  int64_t count(int rank) const { return at_[size_t(rank) + 1] - at_[size_t(rank)]; }

 private:
  char* data_;
  int64_t each_;
  std::vector<int64_t> at_;
};

class HostGroup : public Group {
 public:
  HostGroup(Transport& transport, std::vector<int> members, int rank, uint64_t number,
            std::string name, milliseconds timeout)
      : Group(rank, int(members.size()), std::move(name)),
        transport_(transport),
        members_(std::move(members)),
        number_(number),
        timeout_(timeout),
        sends_(members_.size()),
        recvs_(members_.size()) {}

  void abort(const std::string& reason) override { transport_.abort(reason); }

 private:
  // The messages of one call. Those of one phase are all on their way before any is waited for.
  class Session {
   public:
    Session(HostGroup& of, const Call& to_do, uint32_t sequence, Scratch& memory)
        : group(of), call(to_do), scratch(memory), sequence_(sequence) {}

    void send(int to, const void* data, int64_t bytes) {
      if (bytes == 0) return;
      sends_.push_back(
          {to, group.transport_.send(group.members_[size_t(to)], tag(bytes), data, bytes)});
      bytes_sent += bytes;
    }
    void recv(int from, void* data, int64_t bytes) {
      if (bytes == 0) return;
      recvs_.push_back(
          {from, group.transport_.recv(group.members_[size_t(from)], tag(bytes), data, bytes)});
    }
    void finish() {
      const Deadline deadline = Clock::now() + group.timeout_;
      std::string missing;
      for (auto* messages : {&recvs_, &sends_})
        for (const Message& message : *messages) {
          if (!missing.empty() && messages == &sends_) break;
          if (message.transfer->wait(missing.empty() ? deadline : Clock::now() + kLook)) continue;
          missing +=
              format("{}{}", missing.empty() ? "" : ", ", group.members_[size_t(message.peer)]);
        }
      require(missing.empty(), "rank {} did not come within {} s", missing,
              double(group.timeout_.count()) / 1e3);
      recvs_.clear();
      sends_.clear();
      ++phase_;
    }

    HostGroup& group;
    const Call& call;
    Scratch& scratch;
    int64_t bytes_sent = 0;

   private:
    struct Message {
      int peer;
      std::unique_ptr<Transfer> transfer;
    };

    // Sides that differ in verb, phase or size do not meet: the timeout names them.
    uint64_t tag(int64_t bytes) const {
      const Verb verb = call.verb == Verb::recv ? Verb::send : call.verb;
      const uint64_t size_bits = uint64_t(bytes) * 0x9e3779b97f4a7c15u >> 53;
      return group.number_ << 48 | uint64_t(verb) << 44 | phase_ << 43 | uint64_t(sequence_) << 11 |
             size_bits;
    }

    uint32_t sequence_;
    uint64_t phase_ = 0;
    std::vector<Message> sends_, recvs_;
  };

  // Every rank's part of `from` that is mine is added up in `to`.
  static void sum_mine(Session& session, void* to, const Parts& from) {
    const int me = session.group.rank(), size = session.group.size();
    const int64_t bytes = from.bytes(me);
    char* const others = session.scratch.take(bytes * size);
    for (int rank = 0; rank < size; ++rank) {
      if (rank == me) continue;
      session.recv(rank, others + rank * bytes, bytes);
      session.send(rank, from[rank], from.bytes(rank));
    }
    session.finish();
    with_dtype(session.call.out.dtype, [&]<class T>() {
      std::vector<const T*> terms;
      for (int rank = 0; rank < size; ++rank)
        terms.push_back(reinterpret_cast<const T*>(rank == me ? from[me] : others + rank * bytes));
      using A = Accum<T>;
      const auto larger = [](A a, A b) { return a > b || a != a ? a : b; };
      if (session.call.reduce == Reduce::sum)
        reduce_tree<T>(static_cast<T*>(to), terms, from.count(me), [](A a, A b) { return a + b; });
      else
        reduce_tree<T>(static_cast<T*>(to), terms, from.count(me), larger);
    });
  }

  // Every rank's part goes to all but `except`, which has them.
  static void spread(Session& session, const Parts& parts, int except = -1) {
    const int me = session.group.rank();
    for (int rank = 0; rank < session.group.size(); ++rank) {
      if (rank == me) continue;
      if (me != except) session.recv(rank, parts[rank], parts.bytes(rank));
      if (rank != except) session.send(rank, parts[me], parts.bytes(me));
    }
    session.finish();
  }

  static void all_reduce(Session& session) {
    const Tensor& tensor = session.call.out;
    const Parts parts(tensor, even_parts(tensor.numel(), session.group.size()));
    sum_mine(session, parts[session.group.rank()], parts);
    spread(session, parts);
  }

  static void gather(Session& session) {
    const int me = session.group.rank();
    const Parts parts(session.call.out, session.call.out_counts);
    if (parts.bytes(me) > 0 && session.call.in.data != parts[me])
      std::memcpy(parts[me], session.call.in.data, size_t(parts.bytes(me)));
    spread(session, parts);
  }

  static void scatter_sum(Session& session) {
    sum_mine(session, session.call.out.data, Parts(session.call.in, session.call.in_counts));
  }

  // The root gives each rank one part, and they give it to one another.
  static void broadcast(Session& session) {
    const int me = session.group.rank(), root = session.call.peer;
    const Tensor& tensor = session.call.out;
    const Parts parts(tensor, even_parts(tensor.numel(), session.group.size()));
    for (int rank = 0; me == root && rank < session.group.size(); ++rank)
      if (rank != root) session.send(rank, parts[rank], parts.bytes(rank));
    if (me != root) session.recv(root, parts[me], parts.bytes(me));
    session.finish();
    spread(session, parts, root);
  }

  static void all_to_all(Session& session) {
    const int me = session.group.rank();
    const Parts out(session.call.out, session.call.out_counts);
    const Parts in(session.call.in, session.call.in_counts);
    require(out.count(me) == in.count(me), "{} elements from this rank to itself, {} awaited",
            in.count(me), out.count(me));
    if (in.bytes(me) > 0) std::memcpy(out[me], in[me], size_t(in.bytes(me)));
    for (int rank = 0; rank < session.group.size(); ++rank) {
      if (rank == me) continue;
      session.recv(rank, out[rank], out.bytes(rank));
      session.send(rank, in[rank], in.bytes(rank));
    }
    session.finish();
  }

  static void barrier(Session& session) {
    char mine = 0;
    char* const others = session.scratch.take(session.group.size());
    for (int rank = 0; rank < session.group.size(); ++rank) {
      if (rank == session.group.rank()) continue;
      session.recv(rank, others + rank, 1);
      session.send(rank, &mine, 1);
    }
    session.finish();
  }

  // Puts a send or a recv on its way; finish() is left.
  static void post(Session& session) {
    const Call& call = session.call;
    if (call.verb == Verb::send)
      session.send(call.peer, call.in.data, call.in.bytes());
    else
      session.recv(call.peer, call.out.data, call.out.bytes());
  }

  static void do_verb(Session& session) {
    switch (session.call.verb) {
      case Verb::all_reduce:
        return all_reduce(session);
      case Verb::gather:
        return gather(session);
      case Verb::scatter_sum:
        return scatter_sum(session);
      case Verb::broadcast:
        return broadcast(session);
      case Verb::all_to_all:
        return all_to_all(session);
      case Verb::barrier:
        return barrier(session);
      case Verb::send:
      case Verb::recv:
        post(session);
        return session.finish();
    }
  }

  uint32_t next_sequence(const Call& call) {
    if (call.verb == Verb::send) return sends_[size_t(call.peer)]++;
    if (call.verb == Verb::recv) return recvs_[size_t(call.peer)]++;
    return collectives_++;
  }

  // Runs body; whatever goes wrong in it ends the group everywhere.
  template <class F>
  void guard(const Call& call, F&& body) {
    const auto text = [&](const Error& error) {
      return format("{} of {} ({}) on rank {}: {}", call.verb, call.what, name(),
                    members_[size_t(rank())], error.what());
    };
    try {
      body();
    } catch (const Ended& error) {
      transport_.abort(text(error));
      throw Ended(text(error));
    } catch (const Error& error) {
      transport_.abort(text(error));
      throw Error(text(error));
    }
  }

  void run_with(const Call& call, uint32_t sequence, Scratch& scratch) {
    guard(call, [&] {
      const auto begin = Clock::now();
      Session session(*this, call, sequence, scratch);
      do_verb(session);
      count(call.verb, session.bytes_sent, seconds_since(begin));
    });
  }

  static double seconds_since(Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
  }

  void require_host(const Stream& stream, const Call& call) const {
    require(stream.device == Device::cpu, "{} of {} ({}): this group takes tensors of the CPU only",
            call.verb, call.what, name());
  }

  void run(Stream& stream, const Call& call) override {
    require_host(stream, call);
    run_with(call, next_sequence(call), scratch_);
  }

  void give_up() {
    transport_.abort(format("rank {} failed; its own message says why", members_[size_t(rank())]));
  }

  // A collective that the worker does.
  struct GivenRest : Work::Rest {
    GivenRest(HostGroup& of, std::future<void> future) : group(of), done(std::move(future)) {}
    void wait(Stream&) override { done.get(); }
    void give_up() override { group.give_up(); }
    HostGroup& group;
    std::future<void> done;
  };

  // A message on its way.
  struct PostedRest : Work::Rest {
    PostedRest(HostGroup& group, Call given, uint32_t sequence)
        : call(std::move(given)), session(group, call, sequence, group.scratch_) {
      group.guard(call, [&] { post(session); });
    }
    void wait(Stream&) override {
      session.group.guard(call, [&] { session.finish(); });
      session.group.count(call.verb, session.bytes_sent, seconds_since(begin));
    }
    void give_up() override { session.group.give_up(); }
    const Clock::time_point begin = Clock::now();
    Call call;
    Session session;
  };

  Work start(Stream& stream, Call call) override {
    require_host(stream, call);
    const uint32_t sequence = next_sequence(call);
    if (call.verb == Verb::send || call.verb == Verb::recv)
      return Work(std::make_unique<PostedRest>(*this, std::move(call), sequence));
    if (!worker_) worker_ = std::make_unique<Worker>();
    std::packaged_task<void()> task(
        [this, call = std::move(call), sequence] { run_with(call, sequence, worker_scratch_); });
    return Work(std::make_unique<GivenRest>(*this, worker_->give(std::move(task))));
  }

  std::unique_ptr<Group> make_child(Stream& stream, std::vector<int> members, int colours,
                                    int colour, std::string name) override {
    std::vector<int64_t> numbers(members_.size());
    int64_t mine = int64_t(transport_.next_group);
    Group::gather(stream, {numbers.data(), {size()}, DType::i64}, {&mine, {1}, DType::i64},
                  name.c_str());
    const int64_t first = *std::max_element(numbers.begin(), numbers.end());
    transport_.next_group = uint64_t(first + colours);
    require(first + colours <= 1 << 16, "{}: more than 65536 groups", name);
    if (members.empty()) return nullptr;
    if (members.size() == 1) return lone_group(std::move(name));
    int position = 0;
    for (size_t i = 0; i < members.size(); ++i) {
      if (members[i] == rank()) position = int(i);
      members[i] = members_[size_t(members[i])];
    }
    return std::make_unique<HostGroup>(transport_, std::move(members), position,
                                       uint64_t(first + colour - 1), std::move(name), timeout_);
  }

  Transport& transport_;
  std::vector<int> members_;  // the ranks of the transport, by rank of this group
  uint64_t number_;
  milliseconds timeout_;
  uint32_t collectives_ = 0;
  std::vector<uint32_t> sends_, recvs_;  // by peer
  Scratch scratch_, worker_scratch_;
  std::unique_ptr<Worker>
      worker_;  // from the first that is started; last: it uses all of the above
};

}  // namespace

std::unique_ptr<Group> host_group(Transport& transport, int rank, int size, std::string name,
                                  milliseconds timeout) {
  if (size == 1) return lone_group(std::move(name));
  std::vector<int> members;
  for (int member = 0; member < size; ++member) members.push_back(member);
  return std::make_unique<HostGroup>(transport, std::move(members), rank, transport.next_group++,
                                     std::move(name), timeout);
}

}  // namespace limpid
