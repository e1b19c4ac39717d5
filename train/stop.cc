#include "train/stop.h"

#include <signal.h>

#include <initializer_list>

namespace limpid {
namespace {

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaddset(&set, signal);
  return set;
}

}  // namespace

// Blocked in this thread and in all that it will start; taken from the kernel's queue when asked
// for.
StopRequest::StopRequest() {
  const sigset_t set = stop_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

bool StopRequest::raised() {
  if (raised_) return true;
  const sigset_t set = stop_signals();
  const timespec now = {};
  if (sigtimedwait(&set, nullptr, &now) < 0) return false;
  raised_ = true;
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  return true;
}

}  // namespace limpid
