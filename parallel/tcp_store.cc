// A Store that rank 0 serves over TCP. A message is
//   4 bytes  how many follow (little-endian, at most kMaxMessage)
//   1 byte   what it is: Kind
//   2 bytes  length of the key; the key; the rest is the value
// A connection begins with hello, whose key is the job. Whoever sends anything else is cut off.
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "core/error.h"
#include "parallel/store.h"

namespace limpid {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

enum class Kind : uint8_t { hello = 1, put, find, yes, no };
constexpr size_t kHead = 7;
constexpr size_t kMaxMessage = 3 + Store::kMaxKey + Store::kMaxValue;
constexpr size_t kMaxHeld = size_t(1) << 30;  // bytes of all keys and values
constexpr milliseconds kAnswerTime(10'000);

class Socket {
 public:
  explicit Socket(int number = -1) : number_(number) {}
  ~Socket() {
    if (number_ >= 0) close(number_);
  }
  Socket(Socket&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  int number() const { return number_; }
  explicit operator bool() const { return number_ >= 0; }

 private:
  int number_;
};

struct Message {
  Kind kind = Kind::no;
  std::string key, value;
};

std::string encode(Kind kind, std::string_view key, std::string_view value) {
  const uint32_t bytes = uint32_t(3 + key.size() + value.size());
  std::string out;
  for (int i = 0; i < 4; ++i) out += char(bytes >> (8 * i) & 0xff);
  out += char(kind);
  out += char(key.size() & 0xff);
  out += char(key.size() >> 8 & 0xff);
  return out.append(key).append(value);
}

// Takes the first message out of `in`; none where it is not all there yet. Throws Error where this
// is no message.
std::optional<Message> decode(std::string& in) {
  if (in.size() < 4) return std::nullopt;
  const auto byte = [&](size_t i) { return size_t(uint8_t(in[i])); };
  const size_t bytes = byte(0) | byte(1) << 8 | byte(2) << 16 | byte(3) << 24;
  require(bytes >= 3 && bytes <= kMaxMessage, "store: a message of {} bytes", bytes);
  if (in.size() < 4 + bytes) return std::nullopt;
  const size_t key = byte(5) | byte(6) << 8;
  require(key <= bytes - 3 && key <= Store::kMaxKey, "store: a key of {} bytes", key);
  Message out = {Kind(in[4]), in.substr(kHead, key), in.substr(kHead + key, bytes - 3 - key)};
  in.erase(0, 4 + bytes);
  return out;
}

class Server {
 public:
  Server(int port, std::string job) : job_(std::move(job)) {
    listener_ = Socket(socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_in6 six = {};
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(uint16_t(port));
    if (!bind_to(reinterpret_cast<const sockaddr*>(&six), sizeof(six))) {
      listener_ = Socket(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      sockaddr_in four = {};
      four.sin_family = AF_INET;
      four.sin_port = htons(uint16_t(port));
      require(bind_to(reinterpret_cast<const sockaddr*>(&four), sizeof(four)),
              "store: cannot serve at port {}{}; choose another by MASTER_PORT or LIMPID_STORE",
              port, errno_text());
    }
    stop_ = Socket(eventfd(0, EFD_CLOEXEC));
    thread_ = std::thread([this] { serve(); });
  }
  ~Server() {
    const uint64_t one = 1;
    if (write(stop_.number(), &one, sizeof(one)) > 0) thread_.join();
  }

 private:
  struct Client {
    Socket socket;
    bool known = false;  // has said hello
    std::string in, out;
  };

  bool bind_to(const sockaddr* address, socklen_t bytes) {
    const int number = listener_.number(), yes = 1, no = 0;
    if (number < 0) return false;
    setsockopt(number, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    setsockopt(number, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
    return bind(number, address, bytes) == 0 && listen(number, 1024) == 0;
  }

  void serve() {
    std::vector<pollfd> polls;
    for (;;) {
      polls.assign({{stop_.number(), POLLIN, 0}, {listener_.number(), POLLIN, 0}});
      for (const Client& client : clients_)
        polls.push_back({client.socket.number(), short(client.out.empty() ? POLLIN : POLLOUT), 0});
      if (poll(polls.data(), polls.size(), -1) < 0) continue;
      if (polls[0].revents) return;
      std::vector<Client> kept;
      for (size_t i = 0; i < clients_.size(); ++i)
        if (!polls[2 + i].revents || talk(clients_[i])) kept.push_back(std::move(clients_[i]));
      clients_ = std::move(kept);
      if (polls[1].revents) admit();
    }
  }

  void admit() {
    Socket socket(accept4(listener_.number(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket) return;
    const int yes = 1;
    setsockopt(socket.number(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    clients_.push_back({std::move(socket), false, {}, {}});
  }

  // False where the connection is over. A request is read only when the answer before has left.
  bool talk(Client& client) try {
    if (client.out.empty()) {
      char piece[65536];
      const ssize_t got = recv(client.socket.number(), piece, sizeof(piece), 0);
      if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return false;
      client.in.append(piece, got > 0 ? size_t(got) : 0);
    }
    for (;;) {
      if (client.out.empty()) {
        const auto message = decode(client.in);
        if (!message) return true;
        client.out = answer(client, *message);
      }
      const ssize_t sent =
          send(client.socket.number(), client.out.data(), client.out.size(), MSG_NOSIGNAL);
      if (sent < 0) return errno == EAGAIN || errno == EINTR;
      client.out.erase(0, size_t(sent));
    }
  } catch (const Error&) {
    return false;
  }

  std::string answer(Client& client, const Message& message) {
    if (!client.known) {
      require(message.kind == Kind::hello, "store: a stranger");
      client.known = message.key == job_;
      return encode(client.known ? Kind::yes : Kind::no, job_, {});
    }
    require_key(message.key);
    const auto at = values_.find(message.key);
    if (message.kind == Kind::find)
      return at == values_.end() ? encode(Kind::no, {}, {}) : encode(Kind::yes, {}, at->second);
    require(message.kind == Kind::put, "store: no such request");
    if (at != values_.end()) return encode(Kind::no, {}, {});
    held_ += message.key.size() + message.value.size();
    require(held_ <= kMaxHeld, "store: full");
    values_.emplace(message.key, message.value);
    return encode(Kind::yes, {}, {});
  }

  std::string job_;
  Socket listener_, stop_;
  std::vector<Client> clients_;
  std::map<std::string, std::string> values_;
  size_t held_ = 0;
  std::thread thread_;
};

Socket connect_once(const std::string& host, int port) {
  addrinfo hints = {}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  const int failed = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  require(failed == 0 || failed == EAI_AGAIN, "store: no such host as {}: {}", host,
          gai_strerror(failed));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
  for (const addrinfo* at = found; at; at = at->ai_next) {
    Socket socket(::socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket || connect(socket.number(), at->ai_addr, at->ai_addrlen) != 0) continue;
    const int yes = 1;
    setsockopt(socket.number(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    return socket;
  }
  return Socket();
}

class TcpStore : public Store {
 public:
  TcpStore(const std::string& host, int port, const std::string& job, bool serve,
           milliseconds timeout)
      : place_(format("{}:{}", host, port)) {
    if (serve) server_ = std::make_unique<Server>(port, job);
    const auto deadline = steady_clock::now() + timeout;
    while (!(socket_ = connect_once(serve ? "127.0.0.1" : host, port))) {
      require(steady_clock::now() < deadline, "store: rank 0 does not answer at {} after {} s",
              place_, double(timeout.count()) / 1e3);
      std::this_thread::sleep_for(milliseconds(20));
    }
    const Message reply = ask(Kind::hello, job, {});
    require(reply.kind == Kind::yes,
            "store: {} serves the job {}, this is {}; choose another port by MASTER_PORT or "
            "LIMPID_STORE",
            place_, reply.key, job);
  }

 private:
  bool put(const std::string& key, std::string_view value) override {
    return ask(Kind::put, key, value).kind == Kind::yes;
  }
  std::optional<std::string> find(const std::string& key) override {
    Message reply = ask(Kind::find, key, {});
    return reply.kind == Kind::yes ? std::optional(std::move(reply.value)) : std::nullopt;
  }

  Message ask(Kind kind, std::string_view key, std::string_view value) {
    const std::lock_guard lock(mutex_);
    const std::string request = encode(kind, key, value);
    const auto deadline = steady_clock::now() + kAnswerTime;
    for (size_t sent = 0; sent < request.size();) {
      await(POLLOUT, deadline);
      const ssize_t n = send(socket_.number(), request.data() + sent, request.size() - sent,
                             MSG_NOSIGNAL | MSG_DONTWAIT);
      require(n >= 0 || errno == EAGAIN || errno == EINTR, "store: lost {}{}", place_,
              errno_text());
      sent += n > 0 ? size_t(n) : 0;
    }
    std::string in;
    for (;;) {
      if (auto reply = decode(in)) {
        require(reply->kind == Kind::yes || reply->kind == Kind::no,
                "store: {} is no store of limpid", place_);
        return std::move(*reply);
      }
      await(POLLIN, deadline);
      char piece[65536];
      const ssize_t got = recv(socket_.number(), piece, sizeof(piece), MSG_DONTWAIT);
      require(got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)),
              "store: {} closed the connection; has rank 0 ended?", place_);
      in.append(piece, got > 0 ? size_t(got) : 0);
    }
  }

  void await(short event, steady_clock::time_point deadline) const {
    pollfd ready = {socket_.number(), event, 0};
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - steady_clock::now());
    require(left.count() > 0 && (poll(&ready, 1, int(left.count())) != 0),
            "store: {} does not answer", place_);
  }

  std::string place_;
  std::unique_ptr<Server> server_;
  std::mutex mutex_;
  Socket socket_;
};

}  // namespace

std::unique_ptr<Store> tcp_store(const std::string& host, int port, const std::string& job,
                                 bool serve, milliseconds timeout) {
  require_key(job);
  require(port > 0 && port < 65536, "store: {} is no port; ports go from 1 to 65535", port);
  return std::make_unique<TcpStore>(host, port, job, serve, timeout);
}

}  // namespace limpid
