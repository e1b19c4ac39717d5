#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "core/error.h"

namespace limpid {

class Store;

using Clock = std::chrono::steady_clock;
using Deadline = Clock::time_point;

// Thrown on the ranks that end because another one did.
class Ended : public Error {
 public:
  using Error::Error;
};

// One message on its way. Its memory must stay until wait() is over; without wait(), the
// destructor takes the message back.
class Transfer {
 public:
  virtual ~Transfer() = default;
  // True when the bytes have left or arrived, false where the other rank did not come in time.
  // Throws Ended with the cause where it never will.
  virtual bool wait(Deadline) = 0;
};

// Moves bytes between ranks; all Groups of a World share one. A message meets the one of the same
// tag and number of bytes on the other side; messages may overtake one another. Any thread may
// call.
class Transport {
 public:
  virtual ~Transport() = default;
  virtual std::unique_ptr<Transfer> send(int to, uint64_t tag, const void*, int64_t bytes) = 0;
  virtual std::unique_ptr<Transfer> recv(int from, uint64_t tag, void*, int64_t bytes) = 0;
  // Wakes all who wait, here and on the other ranks; every later call throws Ended with the first
  // reason given. Waits until nobody on this rank waits any more.
  virtual void abort(const std::string& reason) = 0;

  // Numbers the Groups of this transport: all ranks of a Group agree on its children's.
  uint64_t next_group = 0;
};

// Ranks that are threads of one process. All of them hold one Room.
class Room;
struct CloseRoom {
  void operator()(Room*) const;
};
using RoomOwner = std::unique_ptr<Room, CloseRoom>;
RoomOwner make_room();
std::unique_ptr<Transport> thread_transport(Room&, int rank);

// Ranks that are processes, over TCP by Gloo. Waits until all `size` ranks came to the store, and
// throws Error with those that did not. host: the address under which the other ranks reach this
// one. The store must live longer; the first reason of an abort() is kept in it. From here on
// the process ignores SIGPIPE.
std::unique_ptr<Transport> gloo_transport(int rank, int size, Store&, const std::string& host,
                                          std::chrono::milliseconds timeout);

}  // namespace limpid
