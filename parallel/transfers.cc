#include "parallel/transfers.h"

#include <algorithm>
#include <map>

#include "parallel/timeline.h"

namespace limpid {
namespace {

using enum ActionKind;

// Stages that go through their lists, and what is under way between them.
struct Walk {
  const Schedule& s;
  Sends sends;
  std::vector<size_t>& done;
  std::map<std::pair<int, int>, int> under_way = {};  // messages from stage to stage

  const Action* next(int stage) const {
    const std::vector<Action>& list = s.actions[size_t(stage)];
    return done[size_t(stage)] < list.size() ? &list[done[size_t(stage)]] : nullptr;
  }

  bool step(int stage) {
    const Action* action = next(stage);
    if (!action) return false;
    if (action->receives()) {
      if (sends == Sends::wait) return false;
      int& messages = under_way[{action->peer, stage}];
      if (messages == 0) return false;
      --messages;
    } else if (action->sends() && sends == Sends::go_on) {
      ++under_way[{stage, action->peer}];
    } else if (action->sends()) {
      const Action* other = next(action->peer);
      if (!other || *other != s.met_by(stage, *action)) return false;
      ++done[size_t(action->peer)];
    }
    ++done[size_t(stage)];
    return true;
  }
};

// When each action of each list is done by Times{}: of a send, when it is sent.
using Moments = std::vector<std::vector<double>>;

Moments moments_of(const Schedule& s) {
  Moments moments(size_t(s.stages));
  const Timeline timeline = simulate(s, Times{}, Recvs::wait);
  for (size_t stage = 0; stage < moments.size(); ++stage)
    for (const auto& [action, begin, end] : timeline.stages[stage])
      moments[stage].push_back(action.sends() ? begin : end);
  return moments;
}

// Where stages wait for each other in a circle: the one whose moment comes first, which always is
// in a send. -1 where a stage waits for one that is through.
int first_in_circle(const Schedule& s, const std::vector<size_t>& done, const Moments& moments) {
  const auto peer_of = [&](int stage) {
    const std::vector<Action>& list = s.actions[size_t(stage)];
    return done[size_t(stage)] < list.size() ? list[done[size_t(stage)]].peer : -1;
  };
  const auto moment_of = [&](int stage) { return moments[size_t(stage)][done[size_t(stage)]]; };
  int stage = 0;
  while (peer_of(stage) < 0) ++stage;
  for (int i = 0; i < s.stages && stage >= 0; ++i) stage = peer_of(stage);
  int first = stage;  // surely in the circle by now
  for (int i = 0; i < s.stages && stage >= 0; ++i, stage = peer_of(stage)) {
    const bool sends = s.actions[size_t(stage)][done[size_t(stage)]].sends();
    const bool earlier = moment_of(stage) < moment_of(first);
    if (earlier || (sends && moment_of(stage) == moment_of(first))) first = stage;
  }
  return stage < 0 ? -1 : first;
}

// Makes the receiver of that send receive it next. False where there is none.
bool receive_earlier(Schedule& s, const std::vector<size_t>& done, Moments& moments) {
  const int stage = first_in_circle(s, done, moments);
  if (stage < 0) return false;
  const Action& send = s.actions[size_t(stage)][done[size_t(stage)]];
  if (!send.sends()) return false;
  std::vector<Action>& list = s.actions[size_t(send.peer)];
  const auto next = list.begin() + int64_t(done[size_t(send.peer)]);
  const auto recv = std::find(next, list.end(), s.met_by(stage, send));
  if (recv == list.end()) return false;
  const auto moment = moments[size_t(send.peer)].begin();
  std::rotate(moment + (next - list.begin()), moment + (recv - list.begin()),
              moment + (recv - list.begin()) + 1);
  std::rotate(next, recv, recv + 1);
  return true;
}

std::vector<Action> around(const Schedule& s, int stage) {
  const int before = (stage + s.stages - 1) % s.stages, behind = (stage + 1) % s.stages;
  std::vector<Action> list;
  for (const Action& action : s.actions[size_t(stage)]) {
    const int part = s.part(stage, action.chunk);
    const bool first = part == 0, last = part == s.parts() - 1;
    const bool back = action.kind == backward || action.kind == backward_input;
    const auto transfer = [&](ActionKind kind, int peer) {
      list.push_back({kind, action.micro_batch, action.chunk, peer});
    };
    if (action.kind == forward && !first) transfer(recv_activation, before);
    if (back && !last) transfer(recv_gradient, behind);
    list.push_back(action);
    if (action.kind == forward && !last) transfer(send_activation, behind);
    if (back && !first) transfer(send_gradient, before);
  }
  return list;
}

}  // namespace

bool advance(const Schedule& s, Sends sends, std::vector<size_t>& done) {
  Walk walk{.s = s, .sends = sends, .done = done};
  for (bool moved = true; moved;) {
    moved = false;
    for (int stage = 0; stage < s.stages; ++stage)
      while (walk.step(stage)) moved = true;
  }
  for (int stage = 0; stage < s.stages; ++stage)
    if (walk.next(stage)) return false;
  return true;
}

// What is received earlier than it is needed has been sent by then, by Times{}: so it keeps nobody
// from computing.
Schedule with_transfers(Schedule s) {
  if (s.stages == 1) return s;
  for (int stage = 0; stage < s.stages; ++stage) s.actions[size_t(stage)] = around(s, stage);
  Moments moments = moments_of(s);
  std::vector<size_t> done(size_t(s.stages), 0);
  while (!advance(s, Sends::wait, done))
    require(receive_earlier(s, done, moments),
            "a schedule of {} stages and {} micro-batches waits for ever", s.stages,
            s.micro_batches);
  return s;
}

}  // namespace limpid
