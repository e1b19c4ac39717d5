#include "parallel/timeline.h"

#include <algorithm>

namespace limpid {
namespace {

using enum ActionKind;

// All stages, each as far as the messages that it has let it go.
class Replay {
 public:
  Replay(const Schedule& s, const Duration& duration, Recvs recvs)
      : s_(s),
        duration_(duration),
        recvs_(recvs),
        next_(size_t(s.stages), 0),
        now_(size_t(s.stages), 0),
        arrival_(2 * size_t(s.parts()) * size_t(s.micro_batches), -1) {
    timeline_.stages.resize(size_t(s.stages));
  }

  Timeline run() {
    for (int stage = s_.stages; stage-- > 0;) ready_.push_back(stage);
    while (!ready_.empty()) {
      const int stage = ready_.back();
      ready_.pop_back();
      while (step(stage)) {
      }
    }
    for (int stage = 0; stage < s_.stages; ++stage) {
      const std::vector<Action>& list = s_.actions[size_t(stage)];
      require(next_[size_t(stage)] == list.size(), "stage {} waits for ever in {}", stage,
              next_[size_t(stage)] < list.size() ? to_string(list[next_[size_t(stage)]]) : "");
    }
    timeline_.makespan = *std::max_element(now_.begin(), now_.end());
    return std::move(timeline_);
  }

 private:
  // When the message of a recv arrives, -1 before it is sent.
  double& arrival(int stage, const Action& recv) {
    const int part = s_.part(stage, recv.chunk) * 2 + (recv.kind == recv_gradient);
    return arrival_[size_t(part) * size_t(s_.micro_batches) + size_t(recv.micro_batch)];
  }

  // When all that a stage computes with is there, -1 before that is known.
  double inputs_of(int stage, const Action& action) {
    const int part = s_.part(stage, action.chunk);
    const bool back = action.kind == backward || action.kind == backward_input;
    if (s_.stages > 1 && action.kind == forward && part > 0)
      return arrival(stage, {recv_activation, action.micro_batch, action.chunk});
    if (s_.stages > 1 && back && part + 1 < s_.parts())
      return arrival(stage, {recv_gradient, action.micro_batch, action.chunk});
    return 0;
  }

  // False where the stage has to wait, or is through.
  bool step(int stage) {
    const std::vector<Action>& list = s_.actions[size_t(stage)];
    if (next_[size_t(stage)] == list.size()) return false;
    const Action& action = list[next_[size_t(stage)]];
    double& now = now_[size_t(stage)];
    double begin = now, end = now;
    if (action.receives() && recvs_ == Recvs::wait) {
      if (arrival(stage, action) < 0) return false;
      now = end = std::max(now, arrival(stage, action));
    } else if (action.sends()) {
      end = now + duration_(stage, action);
      arrival(action.peer, s_.met_by(stage, action)) = end;
      ready_.push_back(action.peer);
    } else if (action.computes()) {
      const double inputs = inputs_of(stage, action);
      if (inputs < 0) return false;
      begin = std::max(now, inputs);
      now = end = begin + duration_(stage, action);
    }
    timeline_.stages[size_t(stage)].push_back({action, begin, end});
    ++next_[size_t(stage)];
    return true;
  }

  const Schedule& s_;
  const Duration& duration_;
  Recvs recvs_;
  std::vector<size_t> next_;     // of each stage, the action that it is at
  std::vector<double> now_;      // of each stage
  std::vector<double> arrival_;  // by part, kind of message and micro-batch
  std::vector<int> ready_;       // stages that may be able to go on
  Timeline timeline_;
};

}  // namespace

double Times::operator()(int, const Action& action) const {
  switch (action.kind) {
    case ActionKind::forward:
      return forward;
    case ActionKind::backward:
      return backward_input + backward_weight;
    case ActionKind::backward_input:
      return backward_input;
    case ActionKind::backward_weight:
      return backward_weight;
    case ActionKind::recompute:
      return recompute;
    default:
      return transfer;
  }
}

double Timeline::busy(int stage) const {
  double sum = 0;
  for (const auto& [action, begin, end] : stages[size_t(stage)])
    if (action.computes()) sum += end - begin;
  return sum;
}

double Timeline::idle_share(int stage) const {
  return makespan > 0 ? 1 - busy(stage) / makespan : 0;
}

double Timeline::idle_share() const {
  double sum = 0;
  for (int stage = 0; stage < int(stages.size()); ++stage) sum += idle_share(stage);
  return sum / double(stages.size());
}

Timeline simulate(const Schedule& s, const Duration& duration, Recvs recvs) {
  return Replay(s, duration, recvs).run();
}

}  // namespace limpid
