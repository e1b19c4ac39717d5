#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "parallel/group.h"
#include "parallel/place.h"
#include "parallel/store.h"
#include "parallel/transport.h"

namespace limpid {

// How long a rank waits for another: in the rendezvous, and in each verb of a Group.
inline constexpr std::chrono::milliseconds kRankTimeout(60'000);

// All ranks of a run, and this one's place among them.
class World {
 public:
  // Meets the other ranks that were started with this process, as find_place() tells. Where that
  // names no place to meet, `shared` does: a folder that all of them see. Throws Error where ranks
  // do not come, come twice, or have nowhere to meet.
  static World join(const Path& shared = {}, std::chrono::milliseconds timeout = kRankTimeout);
  // The same for a place that is known. store: none for one rank alone.
  World(Place, std::unique_ptr<Store> store, std::unique_ptr<Transport> transport,
        std::chrono::milliseconds timeout);

  int rank() const { return place_.rank; }
  int size() const { return place_.size; }
  int local_rank() const { return place_.local_rank; }
  int node() const { return place_.node; }

  // All ranks. Its children end before the World does.
  Group& group() { return *group_; }

  // Runs fn; where it throws, all ranks hear why before the error goes on.
  void run(const std::function<void()>& fn);

 private:
  Place place_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<Group> group_;  // last: it uses the transport, which uses the store
};

// What ranks that are threads talk through.
enum class Talk { memory, gloo };

// Runs fn on n ranks that are threads of this process, and returns when all have ended. Where one
// throws, the others' verbs throw too, and the first error is thrown again.
void spawn(int n, const std::function<void(World&)>& fn,
           std::chrono::milliseconds timeout = kRankTimeout, Talk = Talk::memory);

}  // namespace limpid
