// Ranks that are threads: whichever side comes second copies the bytes straight from one rank's
// memory into the other's.
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <tuple>

#include "core/error.h"
#include "parallel/transport.h"

namespace limpid {

namespace {

enum class State { posted, copying, done };

// One side of a message that waits for the other. Guarded by the Room's mutex.
struct Post {
  void* data;
  bool sends;
  State state = State::posted;
};

struct Tag {
  int from, to;
  uint64_t tag;
  int64_t bytes;
  auto operator<=>(const Tag&) const = default;
};

}  // namespace

class Room {
 public:
  std::mutex mutex;
  std::condition_variable changed;
  std::multimap<Tag, Post*> posts;  // in the order of posting under one tag
  std::string failure;
  int waiting = 0;

  void require_open() const {
    if (!failure.empty()) throw Ended(failure);
  }
};

namespace {

class ThreadTransfer : public Transfer {
 public:
  ThreadTransfer(Room& room, const Tag& tag, void* data, bool sends)
      : room_(room), tag_(tag), post_{data, sends} {
    std::unique_lock lock(room_.mutex);
    room_.require_open();
    Post* const other = take_other();
    if (!other) {
      room_.posts.emplace(tag_, &post_);
      return;
    }
    other->state = State::copying;
    lock.unlock();
    std::memcpy(sends ? other->data : data, sends ? data : other->data, size_t(tag_.bytes));
    lock.lock();
    other->state = post_.state = State::done;
    room_.changed.notify_all();
  }

  ~ThreadTransfer() override {
    std::unique_lock lock(room_.mutex);
    room_.changed.wait(lock, [&] { return post_.state != State::copying; });
    if (post_.state == State::done) return;
    const auto [begin, end] = room_.posts.equal_range(tag_);
    for (auto at = begin; at != end; ++at)
      if (at->second == &post_) {
        room_.posts.erase(at);
        return;
      }
  }

  bool wait(Deadline deadline) override {
    std::unique_lock lock(room_.mutex);
    ++room_.waiting;
    room_.changed.wait_until(lock, deadline,
                             [&] { return post_.state == State::done || !room_.failure.empty(); });
    --room_.waiting;
    room_.changed.notify_all();
    if (post_.state != State::done) room_.require_open();
    return post_.state == State::done;
  }

 private:
  Post* take_other() {
    const auto [begin, end] = room_.posts.equal_range(tag_);
    for (auto at = begin; at != end; ++at)
      if (at->second->sends != post_.sends) {
        Post* const other = at->second;
        room_.posts.erase(at);
        return other;
      }
    return nullptr;
  }

  Room& room_;
  Tag tag_;
  Post post_;
};

class ThreadTransport : public Transport {
 public:
  ThreadTransport(Room& room, int rank) : room_(room), rank_(rank) {}

  std::unique_ptr<Transfer> send(int to, uint64_t tag, const void* data, int64_t bytes) override {
    return std::make_unique<ThreadTransfer>(room_, Tag{rank_, to, tag, bytes},
                                            const_cast<void*>(data), true);
  }
  std::unique_ptr<Transfer> recv(int from, uint64_t tag, void* data, int64_t bytes) override {
    return std::make_unique<ThreadTransfer>(room_, Tag{from, rank_, tag, bytes}, data, false);
  }
  void abort(const std::string& reason) override {
    std::unique_lock lock(room_.mutex);
    if (room_.failure.empty()) room_.failure = reason;
    room_.changed.notify_all();
    room_.changed.wait(lock, [&] { return room_.waiting == 0; });
  }

 private:
  Room& room_;
  int rank_;
};

}  // namespace

void CloseRoom::operator()(Room* room) const { delete room; }
RoomOwner make_room() { return RoomOwner(new Room); }
std::unique_ptr<Transport> thread_transport(Room& room, int rank) {
  return std::make_unique<ThreadTransport>(room, rank);
}

}  // namespace limpid
