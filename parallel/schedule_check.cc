#include <algorithm>
#include <array>
#include <map>

#include "parallel/schedule.h"
#include "parallel/transfers.h"

namespace limpid {
namespace {

using enum ActionKind;

// What has been done with one micro-batch in one chunk.
enum Done : unsigned {
  kNothing = 0,
  kActivation = 1,  // its input is here
  kForward = 2,
  kGradient = 4,  // that of its output is here
  kRecomputed = 8,
  kInput = 16,
  kWeight = 32,
  kSentActivation = 64,
  kSentGradient = 128
};

// What an action needs and what it does, where its part is neither the first nor the last.
struct Rule {
  unsigned needs, does;
};
constexpr std::array<Rule, 11> kRules = {{
    {kActivation, kForward},
    {kForward | kGradient, kInput | kWeight},
    {kForward | kGradient, kInput},
    {kInput, kWeight},
    {kForward, kRecomputed},
    {kForward, kSentActivation},
    {kInput, kSentGradient},
    {kNothing, kActivation},
    {kNothing, kGradient},
    {kNothing, kNothing},
    {kNothing, kNothing},
}};

std::string describe(unsigned done) {
  constexpr std::array<const char*, 8> kNames = {
      "its input",           "its forward",        "the gradient of its output",
      "its recompute",       "its backward_input", "its backward_weight",
      "its send_activation", "its send_gradient"};
  std::string text;
  for (size_t bit = 0; bit < kNames.size(); ++bit)
    if (done >> bit & 1) text += (text.empty() ? "" : " and ") + std::string(kNames[bit]);
  return text;
}

// One stage on its own: its list in order, given that every message comes.
class StageCheck {
 public:
  StageCheck(const Schedule& s, int stage)
      : s_(s), stage_(stage), done_(size_t(s.chunks * s.micro_batches), kNothing) {}

  // The most activations that are kept at a time.
  int run() {
    const std::vector<Action>& list = s_.actions[size_t(stage_)];
    for (size_t i = 0; i < list.size(); ++i)
      take(list[i], format("stage {}, action {} ({})", stage_, i, list[i]));
    for (int chunk = 0; chunk < s_.chunks; ++chunk) {
      const unsigned all =
          needed(chunk, kActivation | kForward | kSentActivation) |
          (s_.trains ? needed(chunk, kGradient | kInput | kWeight | kSentGradient) : kNothing);
      for (int batch = 0; batch < s_.micro_batches; ++batch)
        require((all & ~at(chunk, batch)) == 0, "stage {}, micro-batch {}, chunk {}: {} is missing",
                stage_, batch, chunk, describe(all & ~at(chunk, batch)));
    }
    return peak_;
  }

 private:
  unsigned& at(int chunk, int batch) { return done_[size_t(chunk * s_.micro_batches + batch)]; }

  // Of these, what a chunk needs: the first part receives no activation, the last no gradient.
  unsigned needed(int chunk, unsigned what) const {
    const int part = s_.part(stage_, chunk);
    if (part == 0) what &= ~unsigned(kActivation | kSentGradient);
    if (part == s_.parts() - 1) what &= ~unsigned(kGradient | kSentActivation);
    if (s_.stages == 1) what &= ~unsigned(kSentActivation | kSentGradient);
    return what;
  }

  // One stage alone hands on what its chunks compute.
  void hand_on(const Action& action, unsigned does) {
    if (does & kForward && action.chunk + 1 < s_.chunks)
      at(action.chunk + 1, action.micro_batch) |= kActivation;
    if (does & kInput && action.chunk > 0) at(action.chunk - 1, action.micro_batch) |= kGradient;
  }

  void take(const Action& action, const std::string& where) {
    require(action.micro_batch >= 0 && action.micro_batch < s_.micro_batches && action.chunk >= 0 &&
                action.chunk < s_.chunks,
            "{}: there are {} micro-batches and {} chunks", where, s_.micro_batches, s_.chunks);
    const auto [needs, does] = kRules[size_t(action.kind)];
    unsigned& done = at(action.chunk, action.micro_batch);
    const unsigned missing = needed(action.chunk, needs) & ~done;
    require(missing == 0, "{}: {} must come before it", where, describe(missing));
    require((done & does) == 0, "{}: done before", where);
    require(action.kind != recompute || !(done & kInput), "{}: its backward is over", where);
    require(s_.trains || !(does & (kInput | kWeight)), "{}: this schedule does not train", where);
    if (action.sends() || action.receives()) check_transfer(action, does, where);
    done |= does;
    if (s_.stages == 1) hand_on(action, does);
    if (!s_.trains) return;
    if (does & kForward) peak_ = std::max(peak_, ++alive_);
    if (does & kWeight) --alive_;
    require(alive_ <= s_.max_alive[size_t(stage_)],
            "{}: {} activations are kept, but the schedule states at most {}", where, alive_,
            s_.max_alive[size_t(stage_)]);
  }

  void check_transfer(const Action& action, unsigned does, const std::string& where) const {
    const bool behind = action.kind == send_activation || action.kind == recv_gradient;
    require(needed(action.chunk, does) != 0 && s_.stages > 1, "{}: there is nobody to meet", where);
    const int peer = (stage_ + (behind ? 1 : s_.stages - 1)) % s_.stages;
    require(action.peer == peer, "{}: its other side is stage {}", where, peer);
  }

  const Schedule& s_;
  int stage_;
  std::vector<unsigned> done_;  // by chunk and micro-batch
  int alive_ = 0, peak_ = 0;
};

// Every send has its recv, in one order between any two stages.
void check_order(const Schedule& s) {
  std::map<std::pair<int, int>, std::vector<Action>> sends, recvs;  // from, to
  for (int stage = 0; stage < s.stages; ++stage) {
    for (const Action& action : s.actions[size_t(stage)]) {
      if (action.sends()) sends[{stage, action.peer}].push_back(s.met_by(stage, action));
      if (action.receives()) recvs[{action.peer, stage}].push_back(action);
    }
  }
  for (const auto& [pair, sent] : sends) {
    const std::vector<Action>& received = recvs[pair];
    for (size_t i = 0; i < std::min(sent.size(), received.size()); ++i)
      require(sent[i] == received[i],
              "message {} from stage {} to stage {} is {} to its receiver, "
              "but the sender's is met by {}",
              i, pair.first, pair.second, received[i], sent[i]);
  }
}

void check_progress(const Schedule& s, Sends sends) {
  std::vector<size_t> done(size_t(s.stages), 0);
  if (advance(s, sends, done)) return;
  std::string text;
  for (int stage = 0; stage < s.stages; ++stage) {
    const std::vector<Action>& list = s.actions[size_t(stage)];
    if (done[size_t(stage)] < list.size())
      text += format("; stage {} in {}", stage, list[done[size_t(stage)]]);
  }
  fail("stages wait for each other where sends {}{}",
       sends == Sends::wait ? "wait for their recvs" : "do not wait", text);
}

}  // namespace

std::vector<int> check(const Schedule& s) {
  require(int(s.actions.size()) == s.stages && int(s.max_alive.size()) == s.stages,
          "a schedule of {} stages has {} lists and {} limits", s.stages, s.actions.size(),
          s.max_alive.size());
  std::vector<int> peaks;
  for (int stage = 0; stage < s.stages; ++stage) peaks.push_back(StageCheck(s, stage).run());
  check_order(s);
  check_progress(s, Sends::go_on);
  check_progress(s, Sends::wait);
  return peaks;
}

}  // namespace limpid
