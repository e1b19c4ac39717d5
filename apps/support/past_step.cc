#include "apps/support/past_step.h"

#include <ctime>

#include "apps/support/checkpoint_names.h"
#include "checkpoint/load.h"
#include "checkpoint/save.h"
#include "checkpoint/snapshot.h"
#include "core/log.h"
#include "data/tokenizer.h"
#include "recipes/session.h"
#include "train/audit.h"
#include "train/run.h"

namespace limpid {
namespace {

// The checkpoint whose account tells of a step.
CheckpointReader account_of(const Path& run, int64_t step) {
  for (const std::string& name : checkpoint_names(run)) {
    if (*step_of_name(name) < step) continue;
    CheckpointReader reader(checkpoints_folder(run) / name);
    const auto& parent = reader.manifest().parent;
    if (!parent || parent->step < step) return reader;
  }
  fail("no checkpoint of {} tells of step {}", run.string(), step);
}

// The account of a checkpoint up to a step of it.
Account account_until(Stream& stream, const CheckpointReader& reader, int64_t step) {
  Account out{.recipe = reader.recipe(),
              .config_json = reader.config_json(),
              .tokenizer = reader.tokenizer(),
              .data_json = reader.data_json(),
              .environment_json = describe_environment(stream),
              .order = {},
              .metrics = reader.metrics(),
              .validation = {},
              .events = reader.events()};
  std::erase_if(out.metrics, [&](const StepRecord& record) { return record.step > step; });
  std::erase_if(out.events, [&](const Event& event) { return event.step > step; });
  out.events.push_back({.step = step,
                        .time = double(std::time(nullptr)),
                        .kind = "rebuilt",
                        .text = reader.folder().string()});
  const OrderLog order = reader.order();
  for (size_t i = 0; i < order.step.size() && order.step[i] <= step; ++i) {
    out.order.step.push_back(order.step[i]);
    out.order.epoch.push_back(order.epoch[i]);
    out.order.window.push_back(order.window[i]);
    out.order.corpus.push_back(order.corpus[i]);
  }
  return out;
}

}  // namespace

void print_samples(const Path& run, int64_t step, const std::vector<std::string>& settings) {
  const CheckpointReader reader = account_of(run, step);
  const Recipe recipe =
      Recipe::parse(reader.recipe(), (reader.folder() / kAccount).string(), settings);
  const OrderLog order = reader.order();
  std::vector<TokenShard> shards;
  for (const std::string& path : recipe.data.train) shards.emplace_back(path);
  const Tokenizer tokenizer = Tokenizer::from_bytes(reader.tokenizer());
  const int64_t T = recipe.model.context;
  int64_t shown = 0;
  for (size_t i = 0; i < order.step.size(); ++i) {
    if (order.step[i] != step) continue;
    const TokenShard& shard = shards.at(size_t(order.corpus[i]));
    const int64_t begin = order.window[i] * T;
    std::vector<int32_t> ids(size_t(T + 1));
    shard.copy(begin, T + 1, ids.data());
    log("\nsample {} of step {}: {}, epoch {}, window {}, documents {} to {}", shown++, step,
        recipe.data.train.at(size_t(order.corpus[i])), order.epoch[i], order.window[i],
        shard.document_at(begin), shard.document_at(begin + T - 1));
    log_line(tokenizer.decode(ids));
  }
  require(shown > 0, "{} has no samples of step {}", reader.folder().string(), step);
}

void rebuild_step(const Path& run, int64_t step, const Path& out,
                  const std::vector<std::string>& settings) {
  const CheckpointReader next = account_of(run, step + 1);
  require(next.manifest().parent.has_value(), "{} is the first checkpoint of its run",
          next.folder().string());
  const CheckpointReader from(checkpoints_folder(run) / step_name(next.manifest().parent->step));
  Session session(Recipe::parse(next.recipe(), (next.folder() / kAccount).string(), settings));
  const Progress progress =
      rebuild({session.stream, session.model, *session.optimizer, session.batches, session.trainer},
              from, next, step);
  Snapshot values(session.stream, named_values(session.model.params()));
  Snapshot moments(session.stream, named_state(*session.optimizer));
  values.take(session.stream);
  moments.take(session.stream);
  Checkpoints(session.recipe.checkpoint, out)
      .save({.step = progress.step,
             .model = values.on_host(),
             .optimizer = moments.on_host(),
             .counters = {{"samples", progress.samples},
                          {"tokens", progress.tokens},
                          {"skipped_in_a_row", progress.skipped_in_a_row}}},
            account_until(session.stream, next, step));
  log("{}: step {} rebuilt from step {}, every digest as recorded", out.string(), step,
      from.step());
}

}  // namespace limpid
