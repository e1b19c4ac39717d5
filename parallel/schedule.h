#pragma once

#include <string>
#include <vector>

#include "core/fields.h"

namespace limpid {

// backward gives the gradients of the inputs and adds those of the weights; backward_input and
// backward_weight are its halves.
enum class ActionKind : uint8_t {
  forward,
  backward,
  backward_input,
  backward_weight,
  recompute,
  send_activation,
  send_gradient,
  recv_activation,
  recv_gradient,
  gather,
  reduce
};
std::string to_string(ActionKind);

// One thing that a stage does.
struct Action {
  ActionKind kind = ActionKind::forward;
  int micro_batch = 0;
  int chunk = 0;  // of this stage, on either side of a send
  int peer = -1;  // the other stage of a send or a recv

  bool computes() const { return kind <= ActionKind::recompute; }
  bool sends() const {
    return kind == ActionKind::send_activation || kind == ActionKind::send_gradient;
  }
  bool receives() const {
    return kind == ActionKind::recv_activation || kind == ActionKind::recv_gradient;
  }
  bool operator==(const Action&) const = default;
};
std::string to_string(const Action&);  // "send_activation of micro-batch 3, chunk 0, to stage 2"

// What every stage does in one step, in its order. Stage s holds `chunks` parts of the model: part
// chunk x stages + s is its chunk. A part sends its activation to the next part and its gradient to
// the one before. Sends and recvs begin in the order of the list; a stage may wait for each, or
// wait for a recv only before it computes with it, and for a send never.
struct Schedule {
  int stages = 1;
  int micro_batches = 1;
  int chunks = 1;
  bool trains = true;                        // false: forward only, and nothing is kept
  std::vector<std::vector<Action>> actions;  // of each stage
  // Of each stage, how many activations of a micro-batch in a chunk may be kept at a time: from
  // forward to backward, or to backward_weight.
  std::vector<int> max_alive;

  int parts() const { return stages * chunks; }
  int part(int stage, int chunk) const { return chunk * stages + stage; }
  // The recv that a send of this stage meets.
  Action met_by(int stage, const Action& send) const;
};

// In each of these a part takes backwards in the order of the micro-batches, so that gradients sum
// to the same bits.

// All forwards, then all backwards (Huang et al. 2019, arXiv:1811.06965).
Schedule gpipe(int stages, int micro_batches);
// Backward as soon as there is one: at most `stages` activations (Narayanan et al. 2019,
// PipeDream-Flush, arXiv:2006.09503).
Schedule one_f_one_b(int stages, int micro_batches);
// 1F1B over `chunks` shorter parts a stage (Narayanan et al. 2021, arXiv:2104.04473). Throws Error
// unless stages divides micro_batches.
Schedule interleaved(int stages, int micro_batches, int chunks);
// 1F1B whose stages begin the next backward_input early and fill the gaps with backward_weight, in
// the memory of 1F1B's first stage: ZB-H1 (Qi et al. 2023, arXiv:2401.10241).
Schedule zero_bubble_h1(int stages, int micro_batches);
// For evaluation.
Schedule forward_only(int stages, int micro_batches, int chunks = 1);

// Proves that a schedule can be executed: every part computes every micro-batch once, after all
// that it needs; every send has its recv, in the same order between any two stages; nobody waits
// for ever, whether a send waits for its recv or not; no stage keeps more than max_alive. Returns
// the most activations that each stage keeps. Throws Error that names stage and action.
std::vector<int> check(const Schedule&);

enum class PipelineKind { one_f_one_b, gpipe, interleaved, zero_bubble_h1 };

// Which schedule a recipe asks for.
struct PipelineConfig {
  PipelineKind schedule = PipelineKind::one_f_one_b;
  int64_t chunks = 1;

  void fields(Fields&);
  void check(Problems&) const;
  Schedule make(int stages, int micro_batches) const;
};

}  // namespace limpid
