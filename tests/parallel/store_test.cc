#include "parallel/store.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "core/error.h"
#include "core/random.h"
#include "tests/support/temp_folder.h"

namespace limpid {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr milliseconds kLong(20'000);

// A port that was free a moment ago.
int free_port() {
  const int number = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof(address);
  bind(number, reinterpret_cast<sockaddr*>(&address), bytes);
  getsockname(number, reinterpret_cast<sockaddr*>(&address), &bytes);
  close(number);
  return ntohs(address.sin_port);
}

enum class Kind { memory, file, tcp };

std::string name_of(const ::testing::TestParamInfo<Kind>& of) {
  return of.param == Kind::memory ? "Memory" : of.param == Kind::file ? "File" : "Tcp";
}

// Two ranks' views of one store.
class StoreTest : public ::testing::TestWithParam<Kind> {
 protected:
  StoreTest() {
    if (GetParam() == Kind::memory) {
      mine_ = memory_store();
    } else if (GetParam() == Kind::file) {
      mine_ = file_store(folder_.path(), "job");
      theirs_ = file_store(folder_.path(), "job");
    } else {
      const int port = free_port();
      mine_ = tcp_store("127.0.0.1", port, "job", true, kLong);
      theirs_ = tcp_store("127.0.0.1", port, "job", false, kLong);
    }
  }
  Store& mine() { return *mine_; }
  Store& theirs() { return theirs_ ? *theirs_ : *mine_; }

 private:
  TempFolder folder_;
  std::unique_ptr<Store> mine_, theirs_;
};

INSTANTIATE_TEST_SUITE_P(All, StoreTest, ::testing::Values(Kind::memory, Kind::file, Kind::tcp),
                         name_of);

TEST_P(StoreTest, KeepsTheFirstValueOfAKey) {
  EXPECT_FALSE(theirs().get("gloo/0"));
  EXPECT_TRUE(mine().set("gloo/0", "first"));
  EXPECT_FALSE(theirs().set("gloo/0", "second"));
  EXPECT_EQ(theirs().get("gloo/0"), "first");
  EXPECT_EQ(mine().get("gloo/0"), "first");
  EXPECT_FALSE(mine().get("gloo"));
}

TEST_P(StoreTest, HoldsAnyBytesUpToItsLimit) {
  const std::string zeros(Store::kMaxValue, '\0');
  EXPECT_TRUE(mine().set("zeros", zeros));
  EXPECT_EQ(theirs().get("zeros"), zeros);
  EXPECT_TRUE(mine().set("nothing", ""));
  EXPECT_EQ(theirs().get("nothing"), "");
  EXPECT_THROW(mine().set("more", zeros + '\0'), Error);
  EXPECT_FALSE(theirs().get("more"));
}

TEST_P(StoreTest, RefusesKeysThatNameNoKey) {
  for (const std::string& key :
       {std::string(), std::string("a b"), std::string("\0a", 2), std::string(201, 'a'),
        std::string("a%b"), std::string("../x\n")}) {
    EXPECT_THROW(mine().set(key, "x"), Error) << key;
    EXPECT_THROW(mine().get(key), Error) << key;
  }
  EXPECT_TRUE(mine().set("../x", "stays inside"));
  EXPECT_TRUE(mine().set(std::string(200, 'a'), "x"));
}

TEST_P(StoreTest, WaitReturnsWithTheValueOrAtTheTimeout) {
  EXPECT_FALSE(mine().wait("late", milliseconds(30)));
  std::thread other([&] {
    std::this_thread::sleep_for(milliseconds(50));
    theirs().set("late", "here");
  });
  EXPECT_EQ(mine().wait("late", kLong), "here");
  other.join();
}

TEST_P(StoreTest, OneOfManyWritersWins) {
  std::atomic<int> winners = 0;
  std::vector<std::thread> writers;
  for (int i = 0; i < 8; ++i)
    writers.emplace_back(
        [&, i] { winners += (i % 2 ? mine() : theirs()).set("race", std::to_string(i)) ? 1 : 0; });
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(winners, 1);
  EXPECT_EQ(mine().get("race"), theirs().get("race"));
}

TEST(FileStore, AnEarlierStartsFilesAreNotSeen) {
  TempFolder folder;
  const auto before = file_store(folder.path(), "slurm-17-0-0");
  before->set("gloo/0", "an address of yesterday");
  const auto after = file_store(folder.path(), "slurm-17-0-1");
  EXPECT_FALSE(after->get("gloo/0"));
  EXPECT_TRUE(after->set("gloo/0", "today"));
  EXPECT_EQ(before->get("gloo/0"), "an address of yesterday");
}

TEST(FileStore, AJobsNameCannotLeaveTheFolder) {
  TempFolder folder;
  EXPECT_THROW(file_store(folder.path(), "../other"), Error);
  EXPECT_THROW(file_store(folder.path(), ".."), Error);
  EXPECT_THROW(file_store(folder.path(), ""), Error);
}

TEST(FileStore, LeavesNoHalfWrittenFiles) {
  TempFolder folder;
  const auto store = file_store(folder.path(), "job");
  for (int i = 0; i < 3; ++i) store->set("key", std::to_string(i));
  EXPECT_EQ(list_folder(folder / "job").size(), 1u);
}

TEST(TcpStore, SaysThatNobodyServes) {
  const int port = free_port();
  EXPECT_THAT([&] { tcp_store("127.0.0.1", port, "job", false, milliseconds(50)); },
              ThrowsMessage<Error>(HasSubstr("rank 0 does not answer at 127.0.0.1")));
}

TEST(TcpStore, RefusesAnotherJob) {
  const int port = free_port();
  const auto server = tcp_store("127.0.0.1", port, "job-1", true, kLong);
  EXPECT_THAT([&] { tcp_store("127.0.0.1", port, "job-2", false, kLong); },
              ThrowsMessage<Error>(HasSubstr("serves the job job-1, this is job-2")));
}

TEST(TcpStore, SaysThatThePortIsTaken) {
  const int port = free_port();
  const auto server = tcp_store("127.0.0.1", port, "job", true, kLong);
  EXPECT_THAT([&] { tcp_store("127.0.0.1", port, "job", true, kLong); },
              ThrowsMessage<Error>(HasSubstr("cannot serve at port")));
}

TEST(TcpStore, SaysThatRankZeroHasGone) {
  const int port = free_port();
  auto server = tcp_store("127.0.0.1", port, "job", true, kLong);
  const auto client = tcp_store("127.0.0.1", port, "job", false, kLong);
  server.reset();
  EXPECT_THROW(client->get("key"), Error);
}

int connect_to(int port) {
  const int number = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(uint16_t(port));
  EXPECT_EQ(connect(number, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  return number;
}

// Everything a stranger may send gets him cut off, and the store goes on.
TEST(TcpStore, CutsOffStrangersAndGoesOn) {
  const int port = free_port();
  const auto store = tcp_store("127.0.0.1", port, "job", true, kLong);
  const std::string hello("\6\0\0\0\1\3\0job", 10);
  std::vector<std::string> bad = {
      "GET / HTTP/1.1\r\n\r\n",
      std::string("\377\377\377\377\1", 5),
      std::string("\0\0\0\0", 4),            // too short for a message
      std::string("\3\0\0\0\1\377\377", 7),  // a key longer than the message
      std::string("\4\0\0\0\3\1\0k", 8),     // asks before hello
      std::string("\6\0\0\0\1\3\0bob", 10) + std::string("\4\0\0\0\3\1\0k", 8),  // another job
      hello + std::string("\4\0\0\0\11\1\0k", 8),                                // no such kind
      hello + std::string("\4\0\0\0\3\1\0 ", 8),                                 // no key
  };
  const Random random(3, "strangers");
  for (uint64_t i = 0; i < 200; ++i) {
    std::string noise = i % 2 ? hello : "";
    for (uint64_t j = 0; j < 4 + i % 60; ++j)
      noise += char(mix64(1000 * i + j) & (i % 3 ? 15 : 255));
    bad.push_back(noise);
  }
  for (const std::string& bytes : bad) {
    const int number = connect_to(port);
    EXPECT_EQ(send(number, bytes.data(), bytes.size(), MSG_NOSIGNAL), ssize_t(bytes.size()));
    shutdown(number, SHUT_WR);
    char piece[4096];
    while (recv(number, piece, sizeof(piece), 0) > 0) {
    }
    close(number);
  }
  EXPECT_TRUE(store->set("after", "all of them"));
  EXPECT_EQ(store->get("after"), "all of them");
}

// A server that is none of ours.
TEST(TcpStore, RefusesAnAnswerThatIsNone) {
  for (const std::string& answer :
       {std::string("HTTP/1.1 400 Bad Request\r\n"), std::string("\377\377\377\177\4\0\0", 7),
        std::string("\3\0\0\0\2\0\0", 7), std::string("\3\0\0\0\4\1\0", 7), std::string()}) {
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof(address);
    ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), bytes), 0);
    ASSERT_EQ(listen(listener, 1), 0);
    getsockname(listener, reinterpret_cast<sockaddr*>(&address), &bytes);
    std::thread server([&] {
      const int number = accept(listener, nullptr, nullptr);
      char piece[4096];
      EXPECT_GT(recv(number, piece, sizeof(piece), 0), 0);
      EXPECT_EQ(send(number, answer.data(), answer.size(), MSG_NOSIGNAL), ssize_t(answer.size()));
      close(number);
    });
    EXPECT_THROW(tcp_store("127.0.0.1", ntohs(address.sin_port), "job", false, kLong), Error);
    server.join();
    close(listener);
  }
}

}  // namespace
}  // namespace limpid
