#include "parallel/launch.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <thread>
#include <utility>

#include "core/error.h"
#include "core/file.h"
#include "parallel/place.h"

namespace limpid {

namespace {

using Clock = std::chrono::steady_clock;

// A file descriptor that this object closes.
class Handle {
 public:
  explicit Handle(int number = -1) : number_(number) {}
  ~Handle() {
    if (number_ >= 0) close(number_);
  }
  Handle(Handle&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  int number() const { return number_; }

 private:
  int number_;
};

struct Pipe {
  Handle read, write;
};

Pipe make_pipe() {
  int ends[2];
  require(pipe2(ends, O_CLOEXEC) == 0, "limpid-launch: cannot make a pipe{}", errno_text());
  return {Handle(ends[0]), Handle(ends[1])};
}

void write_all(int to, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(to, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return;  // nobody reads any more
    text.remove_prefix(size_t(written));
  }
}

// Passes on what a rank writes, a line at a time with the prefix before it.
class Lines {
 public:
  Lines(Handle from, int to, std::string prefix)
      : from_(std::move(from)), to_(to), prefix_(std::move(prefix)) {
    fcntl(from_.number(), F_SETFL, O_NONBLOCK);
  }
  int number() const { return from_.number(); }

  // All that there is now. False where there will be no more.
  bool pass_on() {
    char piece[65536];
    for (;;) {
      const ssize_t got = read(from_.number(), piece, sizeof(piece));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return got < 0 && errno == EAGAIN;
      text_.append(piece, size_t(got));
      for (size_t end; (end = text_.find('\n')) != text_.npos;) put(end + 1);
      if (text_.size() > sizeof(piece)) put(text_.size());
    }
  }
  void finish() {
    pass_on();
    if (text_.empty()) return;
    text_ += '\n';
    put(text_.size());
  }

 private:
  void put(size_t end) {
    write_all(to_, prefix_ + text_.substr(0, end));
    text_.erase(0, end);
  }

  Handle from_;
  int to_;
  std::string prefix_, text_;
};

// A new folder in which the ranks meet, removed at the end.
class MeetingFolder {
 public:
  MeetingFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "limpid-launch-XXXXXX").string();
    require(mkdtemp(name.data()) != nullptr, "limpid-launch: cannot make {}{}", name, errno_text());
    path_ = name;
  }
  ~MeetingFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  MeetingFolder(const MeetingFolder&) = delete;
  MeetingFolder& operator=(const MeetingFolder&) = delete;
  const Path& path() const { return path_; }

 private:
  Path path_;
};

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (std::string& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

// Signals that come to a file descriptor while this object lives.
class Signals {
 public:
  Signals() {
    sigset_t set;
    sigemptyset(&set);
    for (int number : {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}) sigaddset(&set, number);
    pthread_sigmask(SIG_BLOCK, &set, &before_);
    handle_ = Handle(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
    require(handle_.number() >= 0, "limpid-launch: cannot wait for signals{}", errno_text());
  }
  ~Signals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  int number() const { return handle_.number(); }
  const sigset_t& before() const { return before_; }
  // Those that have come, without SIGCHLD.
  std::vector<int> take() {
    std::vector<int> out;
    signalfd_siginfo info;
    while (read(handle_.number(), &info, sizeof(info)) == ssize_t(sizeof(info)))
      if (info.ssi_signo != SIGCHLD) out.push_back(int(info.ssi_signo));
    return out;
  }

 private:
  sigset_t before_;
  Handle handle_;
};

struct Failure {
  int rank, status;  // status as waitpid() gives it
};

class Ranks {
 public:
  explicit Ranks(const Launch& how) : how_(how), processes_(size_t(how.ranks), 0) {}
  ~Ranks() {
    send(SIGKILL);
    for (pid_t process : processes_)
      if (process > 0) waitpid(process, nullptr, 0);
  }
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  int run() {
    for (int rank = 0; rank < how_.ranks; ++rank) start(rank);
    while (reap()) {
      pass_on(time_left());
      for (int number : signals_.take()) send(number);
      if (ending_ && Clock::now() >= kill_at_) send(SIGKILL);
    }
    for (Lines& lines : lines_) lines.finish();
    return status_;
  }

 private:
  std::vector<std::string> variables_of(int rank) const {
    Environment all = process_environment();
    const int processors = std::max(1, int(std::thread::hardware_concurrency()));
    all.emplace("OMP_NUM_THREADS", std::to_string(std::max(1, processors / how_.ranks)));
    all["LIMPID_RANK"] = all["LIMPID_LOCAL_RANK"] = std::to_string(rank);
    all["LIMPID_SIZE"] = std::to_string(how_.ranks);
    all["LIMPID_NODE"] = "0";
    all["LIMPID_JOB"] = "launch";  // the folder is of this launch only
    all["LIMPID_STORE"] = "file:" + folder_.path().string();
    std::vector<std::string> out;
    for (const auto& [name, value] : all) out.push_back(name + "=" + value);
    return out;
  }

  void start(int rank) {
    std::vector<std::string> words = how_.command, variables = variables_of(rank);
    const std::vector<char*> arguments = pointers(words), environment = pointers(variables);
    Pipe out, err;
    if (rank > 0) out = make_pipe(), err = make_pipe();
    const pid_t launcher = getpid();
    const pid_t process = fork();
    require(process >= 0, "limpid-launch: cannot start rank {}{}", rank, errno_text());
    if (process == 0) {
      // Nothing here may allocate: the caller may have other threads.
      setpgid(0, 0);  // so that Ctrl-C comes once, from the launcher
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != launcher) _exit(1);
      pthread_sigmask(SIG_SETMASK, &signals_.before(), nullptr);
      if (rank > 0)
        dup2(out.write.number(), STDOUT_FILENO), dup2(err.write.number(), STDERR_FILENO);
      execvpe(arguments[0], arguments.data(), environment.data());
      const char* const why = std::strerror(errno);
      for (const char* text :
           {"limpid-launch: cannot start ", (const char*)arguments[0], ": ", why, "\n"})
        if (write(STDERR_FILENO, text, std::strlen(text)) < 0) break;
      _exit(127);
    }
    setpgid(process, process);
    processes_[size_t(rank)] = process;
    if (rank == 0) return;
    const std::string prefix = format("[rank {}] ", rank);
    lines_.emplace_back(std::move(out.read), STDOUT_FILENO, prefix);
    lines_.emplace_back(std::move(err.read), STDERR_FILENO, prefix);
  }

  // Notes who has ended. False when all have.
  bool reap() {
    std::vector<Failure> failures;
    for (size_t rank = 0; rank < processes_.size(); ++rank) {
      int status = 0;
      if (processes_[rank] == 0) continue;
      if (waitpid(processes_[rank], &status, WNOHANG) != processes_[rank]) continue;
      processes_[rank] = 0;
      if (status != 0) failures.push_back({int(rank), status});
    }
    if (!failures.empty() && !ending_) end_others(failures);
    return std::any_of(processes_.begin(), processes_.end(), [](pid_t p) { return p != 0; });
  }

  // Of those that ended together, one that was killed is the cause, and not the consequence.
  void end_others(const std::vector<Failure>& failures) {
    auto first = std::find_if(failures.begin(), failures.end(),
                              [](const Failure& failure) { return WIFSIGNALED(failure.status); });
    if (first == failures.end()) first = failures.begin();
    const bool killed = WIFSIGNALED(first->status);
    status_ = killed ? 128 + WTERMSIG(first->status) : WEXITSTATUS(first->status);
    const std::string how =
        killed ? format("was ended by signal {} ({})", status_ - 128, strsignal(status_ - 128))
               : format("ended with exit status {}", status_);
    write_all(STDERR_FILENO, format("limpid-launch: rank {} of {} {}; ending the others\n",
                                    first->rank, how_.ranks, how));
    ending_ = true;
    kill_at_ = Clock::now() + how_.grace;
    send(SIGTERM);
  }

  // To each rank and all that it started.
  void send(int number) const {
    for (pid_t process : processes_)
      if (process > 0) kill(-process, number);
  }

  int time_left() const {
    if (!ending_) return -1;
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(kill_at_ - Clock::now());
    return int(std::max<int64_t>(left.count() + 1, 10));
  }

  void pass_on(int timeout_ms) {
    std::vector<pollfd> polls = {{signals_.number(), POLLIN, 0}};
    for (const Lines& lines : lines_) polls.push_back({lines.number(), POLLIN, 0});
    if (poll(polls.data(), polls.size(), timeout_ms) < 0) return;
    for (size_t i = lines_.size(); i-- > 0;)
      if (polls[i + 1].revents && !lines_[i].pass_on()) {
        lines_[i].finish();
        lines_.erase(lines_.begin() + int64_t(i));
      }
  }

  const Launch& how_;
  MeetingFolder folder_;
  Signals signals_;
  std::vector<pid_t> processes_;  // 0: has ended
  std::vector<Lines> lines_;
  int status_ = 0;
  bool ending_ = false;
  Clock::time_point kill_at_;
};

}  // namespace

int launch(const Launch& how) {
  require(how.ranks >= 1 && how.ranks <= 4096, "limpid-launch: {} ranks; 1 to 4096 are possible",
          how.ranks);
  require(!how.command.empty(), "limpid-launch: no program is named");
  return Ranks(how).run();
}

}  // namespace limpid
