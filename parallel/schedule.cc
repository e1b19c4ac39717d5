#include "parallel/schedule.h"

#include <algorithm>
#include <array>

#include "parallel/transfers.h"

namespace limpid {
namespace {

using enum ActionKind;

Schedule empty_schedule(int stages, int micro_batches, int chunks = 1) {
  require(stages >= 1 && micro_batches >= 1 && chunks >= 1,
          "a schedule of {} stages, {} micro-batches and {} chunks: each must be one or more",
          stages, micro_batches, chunks);
  return {.stages = stages,
          .micro_batches = micro_batches,
          .chunks = chunks,
          .actions = std::vector<std::vector<Action>>(size_t(stages)),
          .max_alive = std::vector<int>(size_t(stages), 0)};
}

// Micro-batches in groups of `stages`; a group goes through chunk after chunk.
std::vector<Action> chunk_order(const Schedule& s, ActionKind kind) {
  std::vector<Action> order;
  for (int group = 0; group < s.micro_batches; group += s.stages)
    for (int i = 0; i < s.chunks; ++i)
      for (int batch = group; batch < std::min(group + s.stages, s.micro_batches); ++batch)
        order.push_back({kind, batch, kind == forward ? i : s.chunks - 1 - i});
  return order;
}

// `warmup` forwards, then one backward and one forward in turn, then the other backwards.
std::vector<Action> in_turn(const std::vector<Action>& forwards,
                            const std::vector<Action>& backwards, int warmup) {
  std::vector<Action> list(forwards.begin(), forwards.begin() + warmup);
  for (size_t i = 0; i < backwards.size(); ++i) {
    const size_t next = i + size_t(warmup);
    if (next < forwards.size()) list.push_back(forwards[next]);
    list.push_back(backwards[i]);
  }
  return list;
}

}  // namespace

std::string to_string(ActionKind kind) {
  constexpr std::array<const char*, 11> kNames = {
      "forward",       "backward",        "backward_input", "backward_weight",
      "recompute",     "send_activation", "send_gradient",  "recv_activation",
      "recv_gradient", "gather",          "reduce"};
  return kNames[size_t(kind)];
}

std::string to_string(const Action& action) {
  std::string text =
      format("{} of micro-batch {}, chunk {}", action.kind, action.micro_batch, action.chunk);
  if (action.sends()) text += format(", to stage {}", action.peer);
  if (action.receives()) text += format(", from stage {}", action.peer);
  return text;
}

Action Schedule::met_by(int stage, const Action& send) const {
  const bool onwards = send.kind == send_activation;
  const int other = part(stage, send.chunk) + (onwards ? 1 : -1);
  return {onwards ? recv_activation : recv_gradient, send.micro_batch, other / stages, stage};
}

Schedule gpipe(int stages, int micro_batches) {
  Schedule s = empty_schedule(stages, micro_batches);
  for (int stage = 0; stage < stages; ++stage) {
    std::vector<Action>& list = s.actions[size_t(stage)];
    for (int batch = 0; batch < micro_batches; ++batch) list.push_back({forward, batch});
    for (int batch = 0; batch < micro_batches; ++batch) list.push_back({backward, batch});
    s.max_alive[size_t(stage)] = micro_batches;
  }
  return with_transfers(std::move(s));
}

Schedule one_f_one_b(int stages, int micro_batches) {
  Schedule s = empty_schedule(stages, micro_batches);
  for (int stage = 0; stage < stages; ++stage) {
    const int warmup = std::min(stages - stage - 1, micro_batches);
    s.actions[size_t(stage)] = in_turn(chunk_order(s, forward), chunk_order(s, backward), warmup);
    s.max_alive[size_t(stage)] = std::min(stages - stage, micro_batches);
  }
  return with_transfers(std::move(s));
}

Schedule interleaved(int stages, int micro_batches, int chunks) {
  Schedule s = empty_schedule(stages, micro_batches, chunks);
  require(micro_batches % stages == 0,
          "the interleaved schedule needs micro-batches in groups of {}, one a stage, not {}; "
          "change the batch or take another schedule",
          stages, micro_batches);
  const int total = micro_batches * chunks;
  for (int stage = 0; stage < stages; ++stage) {
    const int ahead =
        chunks == 1 ? stages - stage - 1 : 2 * (stages - stage - 1) + (chunks - 1) * stages;
    const int warmup = std::min(ahead, total);
    s.actions[size_t(stage)] = in_turn(chunk_order(s, forward), chunk_order(s, backward), warmup);
    s.max_alive[size_t(stage)] = std::min(ahead + 1, total);
  }
  return with_transfers(std::move(s));
}

// A stage falls behind with as many backward_weights as there are stages before it, which is what
// it has less of forwards in the warm-up.
Schedule zero_bubble_h1(int stages, int micro_batches) {
  Schedule s = empty_schedule(stages, micro_batches);
  for (int stage = 0; stage < stages; ++stage) {
    const int warmup = std::min(stages - stage - 1, micro_batches);
    std::vector<Action>& list = s.actions[size_t(stage)];
    int weights = 0, inputs = 0;
    for (const Action& action :
         in_turn(chunk_order(s, forward), chunk_order(s, backward_input), warmup)) {
      list.push_back(action);
      if (action.kind != backward_input) continue;
      if (++inputs - weights > stage) list.push_back({backward_weight, weights++});
    }
    while (weights < micro_batches) list.push_back({backward_weight, weights++});
    s.max_alive[size_t(stage)] = std::min(stages, micro_batches);
  }
  return with_transfers(std::move(s));
}

Schedule forward_only(int stages, int micro_batches, int chunks) {
  Schedule s = empty_schedule(stages, micro_batches, chunks);
  s.trains = false;
  for (std::vector<Action>& list : s.actions) list = chunk_order(s, forward);
  return with_transfers(std::move(s));
}

void PipelineConfig::fields(Fields& f) {
  static constexpr const char* kKinds[] = {"1f1b", "gpipe", "interleaved", "zero_bubble"};
  f.field("schedule", schedule, kKinds, "the order in which stages take micro-batches");
  f.field("chunks", chunks, "parts of the model that each stage holds (interleaved)", {1, 1 << 10});
}

void PipelineConfig::check(Problems& problems) const {
  problems.require(chunks == 1 || schedule == PipelineKind::interleaved, "chunks",
                   "{} parts a stage are for schedule = \"interleaved\" only; set it to 1", chunks);
}

Schedule PipelineConfig::make(int stages, int micro_batches) const {
  switch (schedule) {
    case PipelineKind::one_f_one_b:
      return one_f_one_b(stages, micro_batches);
    case PipelineKind::gpipe:
      return gpipe(stages, micro_batches);
    case PipelineKind::interleaved:
      return interleaved(stages, micro_batches, int(chunks));
    case PipelineKind::zero_bubble_h1:
      return zero_bubble_h1(stages, micro_batches);
  }
  fail("an unknown schedule");
}

}  // namespace limpid
