// Ranks that are processes: Gloo's pairs of TCP connections, every rank with every other.
#include <gloo/common/error.h>
#include <gloo/transport/context.h>
#include <gloo/transport/tcp/device.h>
#include <gloo/transport/unbound_buffer.h>

#include <algorithm>
#include <condition_variable>
#include <csignal>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "core/error.h"
#include "parallel/store.h"
#include "parallel/transport.h"

namespace limpid {

namespace {

using gloo::transport::UnboundBuffer;
using std::chrono::milliseconds;

// Longer than any run waits; Gloo knows no wait without an end.
constexpr milliseconds kNever = std::chrono::hours(100'000);

// Tags that no Group has: of the last message on a connection, and of one that is never sent.
constexpr uint64_t kLast = ~uint64_t(0), kProbe = kLast - 1;

// How often waits are looked at, and after how long the store is asked what has become of the rest.
constexpr milliseconds kTick(20), kAskAfter(200);

// Where the first rank that fails says why.
constexpr const char* kFailure = "failure";

// What this rank's transfers have in common. Gloo's own timeout gives up all connections without a
// word, so a thread here ends the waits whose time is over, and all of them after an abort on any
// rank.
class Links {
 public:
  struct Wait {
    int peer;
    Clock::time_point begin, deadline;
    bool closed = false;  // the peer's connection is, so nothing will come
  };

  Links(std::shared_ptr<gloo::transport::Context> pairs, Store& store)
      : context(std::move(pairs)),
        store_(store),
        probes_(post_probes()),
        watch_([this] { watch(); }) {}
  ~Links() {
    {
      const std::lock_guard lock(mutex_);
      ends_ = true;
    }
    changed_.notify_all();
    watch_.join();
    close();
  }

  // shared_ptr, because that is how Gloo hands it out.
  const std::shared_ptr<gloo::transport::Context> context;

  void require_open() {
    const std::lock_guard lock(mutex_);
    if (!failure_.empty()) throw Ended(failure_);
  }
  void enter(UnboundBuffer* buffer, int peer, Deadline deadline) {
    const std::lock_guard lock(mutex_);
    if (!failure_.empty()) throw Ended(failure_);
    waiting_.emplace(buffer, Wait{peer, Clock::now(), deadline});
  }
  // Whether the connection was found closed meanwhile.
  bool leave(UnboundBuffer* buffer) {
    const std::lock_guard lock(mutex_);
    const bool closed = waiting_.extract(buffer).mapped().closed;
    if (waiting_.empty()) left_.notify_all();
    return closed;
  }

  // Why the connection to a rank is closed. A rank that fails says so in the store before.
  std::string lost(int rank) {
    require_open();
    const auto reason = stored_failure();
    return reason ? *reason
                  : format("rank {} closed its connections: it has ended, or was killed", rank);
  }

  void abort(const std::string& reason) {
    const std::string first = keep_failure(reason);
    {
      std::unique_lock lock(mutex_);
      if (!failure_.empty()) return;
      failure_ = first;
      changed_.notify_all();
      left_.wait(lock, [this] { return waiting_.empty(); });
    }
    close();
  }

 private:
  // Looks so often that a wait needs not tell when it begins.
  void watch() {
    std::unique_lock lock(mutex_);
    Deadline asked = Clock::now();
    while (!ends_) {
      const Deadline now = Clock::now();
      bool long_wait = false;
      for (auto& [buffer, wait] : waiting_) {
        long_wait = long_wait || now > wait.begin + kAskAfter;
        wait.closed = wait.closed || is_closed(wait.peer);
        if (now < wait.deadline && failure_.empty() && !wait.closed) continue;
        buffer->abortWaitRecv();
        buffer->abortWaitSend();
      }
      if (long_wait && failure_.empty() && now > asked + kAskAfter) {
        asked = now;
        lock.unlock();
        const std::string reason = failure_elsewhere();
        lock.lock();
        if (failure_.empty()) failure_ = reason;
      }
      bool ending = !failure_.empty() && !waiting_.empty();
      for (const auto& [buffer, wait] : waiting_) ending = ending || wait.closed;
      changed_.wait_for(lock, ending ? milliseconds(1) : kTick);
    }
  }

  // A message that is half on its way when its connection closes is not told by Gloo. One that
  // never comes is, so every connection has one.
  std::vector<std::unique_ptr<UnboundBuffer>> post_probes() {
    std::vector<std::unique_ptr<UnboundBuffer>> probes(static_cast<size_t>(context->size));
    for (int rank = 0; rank < context->size; ++rank) {
      if (rank == context->rank) continue;
      probes[size_t(rank)] = context->createUnboundBuffer(&nothing_, 1);
      probes[size_t(rank)]->recv(rank, kProbe);
    }
    return probes;
  }

  // Does not wait: the probe's wait is over before it begins.
  bool is_closed(int rank) try {
    probes_[size_t(rank)]->abortWaitRecv();
    probes_[size_t(rank)]->waitRecv(kNever);
    return false;
  } catch (const gloo::Exception&) {
    return true;
  }

  // Empty where all is well. Ranks leave together, so rank 0 and its store are there until then.
  std::string failure_elsewhere() try {
    return store_.get(kFailure).value_or("");
  } catch (const Error& error) {
    return error.what();
  }

  void close() {
    for (int rank = 0; rank < context->size; ++rank)
      if (rank != context->rank) context->getPair(rank)->close();
  }

  // Without the store, which ends with rank 0, there is only what this rank knows.
  std::string keep_failure(const std::string& reason) try {
    store_.set(kFailure, reason.substr(0, Store::kMaxValue));
    return stored_failure().value_or(reason);
  } catch (const Error&) {
    return reason;
  }
  std::optional<std::string> stored_failure() try {
    return store_.get(kFailure);
  } catch (const Error&) {
    return std::nullopt;
  }

  Store& store_;
  std::mutex mutex_;
  std::condition_variable changed_, left_;
  std::map<UnboundBuffer*, Wait> waiting_;
  std::string failure_;
  bool ends_ = false;
  char nothing_ = 0;
  std::vector<std::unique_ptr<UnboundBuffer>> probes_;
  std::thread watch_;  // last: it uses all of the above
};

class GlooTransfer : public Transfer {
 public:
  GlooTransfer(Links& links, int peer, uint64_t tag, void* data, int64_t bytes, bool sends)
      : links_(links), peer_(peer), sends_(sends) {
    links_.require_open();
    buffer_ = links_.context->createUnboundBuffer(data, size_t(bytes));
    try {
      sends_ ? buffer_->send(peer_, tag) : buffer_->recv(peer_, tag);
    } catch (const gloo::Exception&) {
      throw Ended(links_.lost(peer_));
    }
  }

  bool wait(Deadline deadline) override {
    links_.enter(buffer_.get(), peer_, deadline);
    bool came = false, closed = false;
    try {
      came = sends_ ? buffer_->waitSend(kNever) : buffer_->waitRecv(kNever);
    } catch (const gloo::Exception&) {
      closed = true;
    }
    closed = links_.leave(buffer_.get()) || closed;
    if (came) return true;
    links_.require_open();
    if (closed) throw Ended(links_.lost(peer_));
    return false;
  }

 private:
  Links& links_;
  int peer_;
  bool sends_;
  std::unique_ptr<UnboundBuffer> buffer_;
};

class GlooTransport : public Transport {
 public:
  GlooTransport(std::shared_ptr<gloo::transport::Context> context, Store& store,
                milliseconds timeout)
      : links_(std::move(context), store), timeout_(timeout) {}
  ~GlooTransport() override {
    if (std::uncaught_exceptions() == 0) part();
  }

  std::unique_ptr<Transfer> send(int to, uint64_t tag, const void* data, int64_t bytes) override {
    return std::make_unique<GlooTransfer>(links_, to, tag, const_cast<void*>(data), bytes, true);
  }
  std::unique_ptr<Transfer> recv(int from, uint64_t tag, void* data, int64_t bytes) override {
    return std::make_unique<GlooTransfer>(links_, from, tag, data, bytes, false);
  }
  void abort(const std::string& reason) override { links_.abort(reason); }

 private:
  // A connection that closes drops what the other side has not read yet, so the ranks leave
  // together: each has the last word of all others, which nothing follows.
  void part() try {
    const int size = links_.context->size;
    std::string words(static_cast<size_t>(size), 0);
    char mine = 0;
    std::vector<std::unique_ptr<Transfer>> transfers;
    for (int rank = 0; rank < size; ++rank) {
      if (rank == links_.context->rank) continue;
      transfers.push_back(recv(rank, kLast, &words[size_t(rank)], 1));
      transfers.push_back(send(rank, kLast, &mine, 1));
    }
    const Deadline deadline = Clock::now() + timeout_;
    for (const auto& transfer : transfers)
      if (!transfer->wait(deadline)) return;
  } catch (const Error&) {  // the other ranks have ended
  }

  Links links_;
  milliseconds timeout_;
};

std::string key_of(int rank) { return "gloo/" + std::to_string(rank); }

// The addresses at which one rank listens for each other, equally long, one after the other.
std::string listen_to_all(gloo::transport::Context& context) {
  std::string all;
  for (int rank = 0; rank < context.size; ++rank) {
    if (rank == context.rank) continue;
    const std::vector<char> address = context.createPair(rank)->address().bytes();
    all.append(address.data(), address.size());
  }
  return all;
}

// rank's address for `reader` in what rank published.
std::vector<char> address_for(int reader, int rank, int size, const std::string& all) {
  const size_t each = all.size() / size_t(size - 1);
  require(each > 0 && all.size() == each * size_t(size - 1),
          "rank {} published {} bytes of addresses, which are not {}", rank, all.size(), size - 1);
  const size_t at = each * size_t(reader < rank ? reader : reader - 1);
  return {all.begin() + int64_t(at), all.begin() + int64_t(at + each)};
}

std::vector<std::string> wait_for_all(int rank, int size, Store& store, milliseconds timeout) {
  const Deadline deadline = Clock::now() + timeout;
  std::vector<std::string> addresses(static_cast<size_t>(size));
  std::string missing;
  for (int other = 0; other < size; ++other) {
    if (other == rank) continue;
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now());
    const auto value = store.wait(key_of(other), std::max(left, milliseconds(0)));
    if (value) addresses[size_t(other)] = *value;
    if (!value) missing += (missing.empty() ? "" : ", ") + std::to_string(other);
  }
  require(missing.empty(), "rank {}: of {} ranks these did not come within {} s: {}", rank, size,
          double(timeout.count()) / 1e3, missing);
  return addresses;
}

}  // namespace

std::unique_ptr<Transport> gloo_transport(int rank, int size, Store& store, const std::string& host,
                                          milliseconds timeout) {
  // Gloo writes to connections that the other side may have closed: an error, not the end.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    const auto device =
        gloo::transport::tcp::CreateDevice(gloo::transport::tcp::attr(host.c_str()));
    auto context = device->createContext(rank, size);
    context->setTimeout(timeout / 5);  // Gloo waits five times as long for a connection
    require(
        store.set(key_of(rank), listen_to_all(*context)),
        "two processes are rank {} of this job: is the program started twice, or the job's name "
        "used again?",
        rank);
    const auto addresses = wait_for_all(rank, size, store, timeout);
    for (int other = 0; other < size; ++other)
      if (other != rank)
        context->getPair(other)->connect(address_for(rank, other, size, addresses[size_t(other)]));
    return std::make_unique<GlooTransport>(std::move(context), store, timeout);
  } catch (const gloo::Exception& error) {
    if (const auto reason = store.get(kFailure)) throw Ended(*reason);
    fail("rank {} of {} cannot connect from {}: {}", rank, size, host, error.what());
  }
}

}  // namespace limpid
