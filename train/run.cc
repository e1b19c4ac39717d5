#include "train/run.h"

#include <chrono>
#include <cmath>

#include "checkpoint/load.h"
#include "core/hash.h"
#include "core/log.h"

namespace limpid {
namespace {

double unix_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

std::vector<NamedTensor> named_values(const Params& params) {
  std::vector<NamedTensor> out;
  for (const Param& param : params) out.push_back({param.name, param.value});
  return out;
}

std::vector<NamedTensor> named_state(const Optimizer& optimizer) {
  std::vector<NamedTensor> out;
  for (const auto& [name, tensor] : optimizer.state()) out.push_back({name, tensor});
  return out;
}

std::string hash_order(const Order& order, int64_t first, int64_t count) {
  Sha256 hash;
  for (int64_t i = first; i < first + count; ++i) {
    const SampleId id = order.sample(i);
    const std::array<int64_t, 3> fields = {id.corpus, id.epoch, id.window};
    hash.update(fields.data(), sizeof fields);
  }
  return to_hex(hash.finish());
}

Run::Run(const Parts& parts, RunTexts texts)
    : parts_(parts),
      texts_(std::move(texts)),
      values_(parts.stream, named_values(parts.model.params())),
      optimizer_(parts.stream, named_state(parts.optimizer)),
      checkpoints_(parts.checkpoint, parts.folder),
      journal_(real_disk(), parts.folder) {}

Progress Run::begin(int64_t seed, Resume resume,
                    const std::function<void(const std::string& recipe)>& check) {
  require(resume == Resume::automatic || checkpoints_.steps().empty(),
          "{} holds checkpoints already, and train.resume = \"never\"; choose another run folder, "
          "or \"auto\" to go on",
          parts_.folder.string());
  Progress progress;
  State state = this->state(progress);
  const std::optional<int64_t> from = checkpoints_.load_newest(state);
  if (from) {
    const CheckpointReader reader(checkpoints_.folder(*from));
    check(reader.recipe());
    choose_kernels_again(parts_.stream, reader.environment_json());
    values_.put_back(parts_.stream);
    optimizer_.put_back(parts_.stream);
    progress = {.step = state.step,
                .samples = state.counters.at("samples"),
                .tokens = state.counters.at("tokens"),
                .skipped_in_a_row = state.counters.at("skipped_in_a_row")};
    saved_step_ = progress.step;
    saved_samples_ = progress.samples;
  } else {
    parts_.model.params().initialise(parts_.stream, uint64_t(seed));
    parts_.optimizer.adopt_values(parts_.stream);
  }
  if (parts_.tensorboard)
    tensorboard_ = std::make_unique<TensorBoard>(real_disk(), parts_.folder / "tb", progress.step);
  write_atomically(real_disk(), parts_.folder / "recipe.toml", texts_.recipe);
  event(progress.step, from ? "resume" : "start",
        from ? checkpoints_.folder(*from).filename().string() : "new run");
  return progress;
}

StepRecord Run::step(const StepResult& result) {
  StepRecord record{
      .attempt = journal_.attempt(),
      .step = result.step,
      .tokens = result.tokens,
      .first_sample = result.first_sample,
      .samples = result.samples,
      .loss = result.loss,
      .lr = result.lr,
      .grad_norm = result.grad_norm,
      .seconds = result.seconds,
      .skipped = result.skipped,
      .digest = result.digest,
      .order_hash = hash_order(parts_.batches.order(), result.first_sample, result.samples)};
  journal_.step(record);
  metrics_.push_back(record);
  if (result.skipped)
    event(result.step, "skip",
          format("loss {}, gradient norm {}: not finite; parameters stay", result.loss,
                 result.grad_norm));
  if (tensorboard_) {
    tensorboard_->scalar("train/loss", record.step, record.loss);
    tensorboard_->scalar("train/lr", record.step, record.lr);
    tensorboard_->scalar("train/grad_norm", record.step, record.grad_norm);
    tensorboard_->scalar("train/seconds", record.step, record.seconds);
  }
  return record;
}

void Run::validation(int64_t step, const std::string& name, double loss) {
  const ValidationRecord record{
      .step = step, .name = name, .loss = loss, .perplexity = std::exp(loss)};
  journal_.validation(record);
  validation_.push_back(record);
  if (tensorboard_) tensorboard_->scalar("validation/" + name, step, loss);
}

void Run::event(int64_t step, const std::string& kind, const std::string& text) {
  const Event event{.step = step, .time = unix_seconds(), .kind = kind, .text = text};
  journal_.event(event);
  events_.push_back(event);
}

bool Run::save(const Progress& progress) {
  if (progress.step == saved_step_) return true;
  try {
    journal_.sync();
    values_.take(parts_.stream);
    optimizer_.take(parts_.stream);
    checkpoints_.save(state(progress), account(progress));
  } catch (const Error& error) {  // the checkpoints before stand, and training may go on
    warn("checkpoint of step {} not saved: {}", progress.step, error.what());
    event(progress.step, "save-failed", error.what());
    return false;
  }
  saved_step_ = progress.step;
  saved_samples_ = progress.samples;
  metrics_.clear();
  validation_.clear();
  events_.clear();
  return true;
}

State Run::state(const Progress& progress) const {
  return {.step = progress.step,
          .model = values_.on_host(),
          .optimizer = optimizer_.on_host(),
          .counters = {{"samples", progress.samples},
                       {"tokens", progress.tokens},
                       {"skipped_in_a_row", progress.skipped_in_a_row}}};
}

Account Run::account(const Progress&) const {
  Account account{.recipe = texts_.recipe,
                  .config_json = texts_.config_json,
                  .tokenizer = parts_.batches.tokenizer_bytes(),
                  .data_json = describe_data(parts_.batches),
                  .environment_json = describe_environment(parts_.stream),
                  .order = {},
                  .metrics = metrics_,
                  .validation = validation_,
                  .events = events_};
  for (const StepRecord& record : metrics_)
    for (int64_t i = record.first_sample; i < record.first_sample + record.samples; ++i) {
      const SampleId id = parts_.batches.order().sample(i);
      account.order.step.push_back(record.step);
      account.order.epoch.push_back(id.epoch);
      account.order.window.push_back(id.window);
      account.order.corpus.push_back(id.corpus);
    }
  return account;
}

}  // namespace limpid
