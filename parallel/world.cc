#include "parallel/world.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "core/error.h"

namespace limpid {

using std::chrono::milliseconds;

namespace {

bool starts_on_one_machine(const Place& place) {
  return place.store.starts_with("tcp:127.") || place.store.starts_with("tcp:localhost:");
}

// The address under which other machines reach this one: that of GLOO_SOCKET_IFNAME, or of the
// first network that is up, cables and InfiniBand before the bridges of containers.
std::string own_address(const Place& place) {
  if (starts_on_one_machine(place)) return "127.0.0.1";
  const char* const wanted = std::getenv("GLOO_SOCKET_IFNAME");
  ifaddrs* all = nullptr;
  require(getifaddrs(&all) == 0, "cannot list the networks of this machine{}", errno_text());
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> owner(all, freeifaddrs);
  std::string found, bridge;
  for (const ifaddrs* at = all; at; at = at->ifa_next) {
    if (!at->ifa_addr || at->ifa_addr->sa_family != AF_INET || !(at->ifa_flags & IFF_UP)) continue;
    const std::string_view name = at->ifa_name;
    if (wanted ? name != wanted : (at->ifa_flags & IFF_LOOPBACK) != 0) continue;
    char text[INET_ADDRSTRLEN] = {};
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(at->ifa_addr)->sin_addr, text,
              sizeof(text));
    const bool of_container =
        name.starts_with("docker") || name.starts_with("veth") || name.starts_with("virbr");
    std::string& slot = of_container && !wanted ? bridge : found;
    if (slot.empty()) slot = text;
  }
  require(!wanted || !found.empty(), "GLOO_SOCKET_IFNAME={}: this machine has no such network",
          wanted);
  if (found.empty()) found = bridge;
  return found.empty() ? "127.0.0.1" : found;
}

std::unique_ptr<Store> open_store(const Place& place, const Path& shared, milliseconds timeout) {
  const std::string& store = place.store;
  if (store.starts_with("tcp:")) {
    const size_t colon = store.rfind(':');
    const std::string host = store.substr(4, colon < 4 ? 0 : colon - 4);
    const std::string port = store.substr(colon + 1);
    require(!host.empty() && !port.empty() && port.size() <= 5 &&
                port.find_first_not_of("0123456789") == port.npos,
            "\"{}\" is not tcp:HOST:PORT", store);
    return tcp_store(host, std::stoi(port), place.job.empty() ? "any" : place.job, place.rank == 0,
                     timeout);
  }
  require(store.empty() || store.starts_with("file:"),
          "LIMPID_STORE={} is neither file:FOLDER nor tcp:HOST:PORT", store);
  const Path folder = store.empty() ? shared : Path(store.substr(5));
  require(
      !folder.empty(),
      "{} ranks have nowhere to meet: set MASTER_ADDR and MASTER_PORT to the host of rank 0 and a "
      "free port, or LIMPID_STORE to file:FOLDER with a folder that all ranks see",
      place.size);
  require(!place.job.empty(),
          "ranks that meet in {} need a name that no earlier start had: set LIMPID_JOB",
          folder.string());
  return file_store(folder, place.job);
}

}  // namespace

World::World(Place place, std::unique_ptr<Store> store, std::unique_ptr<Transport> transport,
             milliseconds timeout)
    : place_(std::move(place)),
      store_(std::move(store)),
      transport_(std::move(transport)),
      group_(transport_ ? host_group(*transport_, rank(), size(), "all ranks", timeout)
                        : lone_group("all ranks")) {}

World World::join(const Path& shared, milliseconds timeout) {
  Place place = find_place(process_environment());
  if (place.size == 1) return World(std::move(place), nullptr, nullptr, timeout);
  auto store = open_store(place, shared, timeout);
  auto transport = gloo_transport(place.rank, place.size, *store, own_address(place), timeout);
  return World(std::move(place), std::move(store), std::move(transport), timeout);
}

void World::run(const std::function<void()>& fn) try { fn(); } catch (const std::exception& error) {
  group_->abort(format("rank {} failed: {}", rank(), error.what()));
  throw;
}

namespace {

// The first error of several threads that is no consequence of another's.
class FirstError {
 public:
  void keep(std::exception_ptr error) {
    const std::lock_guard lock(mutex_);
    std::exception_ptr& slot = is_consequence(error) ? consequence_ : cause_;
    if (!slot) slot = error;
  }
  void rethrow() const {
    if (cause_) std::rethrow_exception(cause_);
    if (consequence_) std::rethrow_exception(consequence_);
  }

 private:
  static bool is_consequence(const std::exception_ptr& error) try {
    std::rethrow_exception(error);
  } catch (const Ended&) {
    return true;
  } catch (...) {
    return false;
  }

  std::mutex mutex_;
  std::exception_ptr cause_, consequence_;
};

}  // namespace

void spawn(int n, const std::function<void(World&)>& fn, milliseconds timeout, Talk talk) {
  require(n >= 1, "spawn: {} ranks", n);
  const RoomOwner room = make_room();
  const std::unique_ptr<Store> meeting = memory_store();
  FirstError first;
  const auto be_rank = [&](int rank) {
    const Place place = {.rank = rank, .size = n, .local_rank = rank, .job = "", .store = ""};
    try {
      auto transport = talk == Talk::memory
                           ? thread_transport(*room, rank)
                           : gloo_transport(rank, n, *meeting, "127.0.0.1", timeout);
      World world(place, nullptr, std::move(transport), timeout);
      world.run([&] { fn(world); });
    } catch (...) {
      first.keep(std::current_exception());
    }
  };
  std::vector<std::thread> threads;
  for (int rank = 0; rank < n; ++rank) threads.emplace_back(be_rank, rank);
  for (std::thread& thread : threads) thread.join();
  first.rethrow();
}

}  // namespace limpid
