#include "train/audit.h"

#include <cmath>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "checkpoint/snapshot.h"
#include "train/run.h"

namespace limpid {
namespace {

using Lines = std::vector<std::string>;

// The same number, or both none.
bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

// Shards are the same where their contents are, wherever they lie.
Lines compare_data(Batches& batches, const std::string& recorded_json) {
  const auto recorded = nlohmann::json::parse(recorded_json, nullptr, false);
  if (!recorded.is_object() || !recorded.contains("train") || !recorded["train"].is_array())
    return {"account.h5: does not say which data was used"};
  const auto& train = recorded["train"];
  const auto& corpora = batches.corpora();
  if (train.size() != corpora.size())
    return {format("the run had {} corpora, here are {}", train.size(), corpora.size())};
  Lines out;
  for (size_t i = 0; i < corpora.size(); ++i) {
    const std::string hash = train[i].value("content_sha256", "");
    if (hash != corpora[i].content_hash)
      out.push_back(format("{}: has content {}, the run used {}", corpora[i].path,
                           corpora[i].content_hash, hash));
  }
  return out;
}

// The newest record of each step after `from`.
std::map<int64_t, StepRecord> records_by_step(const CheckpointReader& account, int64_t from) {
  std::map<int64_t, StepRecord> out;
  for (const StepRecord& record : account.metrics())
    if (record.step > from) out[record.step] = record;
  return out;
}

Lines compare_step(const StepRecord& recorded, const StepResult& again, const Order& order) {
  Lines out;
  const auto compare = [&](const char* what, const auto& then, const auto& now) {
    if (then != now)
      out.push_back(format("step {}: {} {}, recorded as {}", again.step, what, now, then));
  };
  compare("first sample", recorded.first_sample, again.first_sample);
  compare("samples", recorded.samples, again.samples);
  compare("order of samples", recorded.order_hash,
          hash_order(order, again.first_sample, again.samples));
  if (!same(recorded.loss, again.loss))
    compare("loss", format("{:.17g}", recorded.loss), format("{:.17g}", again.loss));
  if (!same(recorded.grad_norm, again.grad_norm))
    compare("gradient norm", format("{:.17g}", recorded.grad_norm),
            format("{:.17g}", again.grad_norm));
  compare("digest of the parameters", recorded.digest, again.digest);
  return out;
}

// One run of steps from a checkpoint.
class Replay {
 public:
  // next: the account of the steps to come.
  Replay(const AuditParts& parts, const CheckpointReader& from, const CheckpointReader& next)
      : parts_(parts),
        values_(parts.stream, named_values(parts.model.params())),
        optimizer_(parts.stream, named_state(parts.optimizer)) {
    choose_kernels_again(parts.stream, next.environment_json());
    from.read(kModel, values_.on_host());
    from.read(kOptimizer, optimizer_.on_host());
    values_.put_back(parts.stream);
    optimizer_.put_back(parts.stream);
    const auto counters = from.counters();
    progress_ = {.step = from.step(),
                 .samples = counters.at("samples"),
                 .tokens = counters.at("tokens"),
                 .skipped_in_a_row = counters.at("skipped_in_a_row")};
  }

  const Progress& progress() const { return progress_; }
  StepResult step() {
    parts_.trainer.begin_step(progress_, [] { return false; });
    return *parts_.trainer.finish_step(progress_, 0);
  }
  // Which tensors are not, to the bit, what a checkpoint holds.
  Lines compare_tensors(const CheckpointReader& to) {
    Lines out;
    for (auto& [file, snapshot] : {std::pair{kModel, &values_}, {kOptimizer, &optimizer_}}) {
      snapshot->take(parts_.stream);
      for (const auto& [name, tensor] : snapshot->on_host()) {
        const Buffer buffer(Device::cpu, tensor.bytes(), name);
        const Tensor stored = buffer.tensor(0, tensor.shape, tensor.dtype);
        to.read_some(file, std::vector<NamedTensor>{{name, stored}});
        if (std::memcmp(stored.data, tensor.data, size_t(tensor.bytes())) != 0)
          out.push_back(format("step {}: {}: tensor {} has other bits", to.step(), file, name));
      }
    }
    return out;
  }

 private:
  AuditParts parts_;
  Snapshot values_, optimizer_;
  Progress progress_;
};

}  // namespace

std::vector<std::string> audit(const AuditParts& parts, const CheckpointReader& from,
                               const CheckpointReader& to,
                               const std::function<void(const AuditedStep&)>& told) {
  require(to.manifest().parent && to.manifest().parent->step == from.step(),
          "{} did not come about from {}", to.folder().string(), from.folder().string());
  Lines out = compare_data(parts.batches, to.data_json());
  if (to.manifest().parent->hash != from.manifest().hash)
    out.push_back(format("{}: came about from another {}", to.folder().filename().string(),
                         from.folder().filename().string()));
  if (!out.empty()) return out;
  const auto records = records_by_step(to, from.step());
  Replay replay(parts, from, to);
  while (replay.progress().step < to.step()) {
    AuditedStep step;
    step.again = replay.step();
    const auto found = records.find(step.again.step);
    if (found == records.end()) {
      step.differences = {format("step {}: has no record", step.again.step)};
    } else {
      step.recorded = found->second;
      step.differences = compare_step(step.recorded, step.again, parts.batches.order());
    }
    told(step);
    if (out.empty()) out = step.differences;
  }
  for (std::string& line : replay.compare_tensors(to)) out.push_back(std::move(line));
  return out;
}

Progress rebuild(const AuditParts& parts, const CheckpointReader& from,
                 const CheckpointReader& next, int64_t step) {
  require(from.step() <= step && step < next.step(), "step {} is not between {} and {}", step,
          from.step(), next.step());
  const auto records = records_by_step(next, from.step());
  Replay replay(parts, from, next);
  while (replay.progress().step < step) {
    const StepResult again = replay.step();
    const auto found = records.find(again.step);
    require(found != records.end(), "step {} has no record to be compared with", again.step);
    const Lines differences = compare_step(found->second, again, parts.batches.order());
    require(differences.empty(), "the run cannot be rebuilt: {}",
            differences.empty() ? "" : differences[0]);
  }
  return replay.progress();
}

}  // namespace limpid
