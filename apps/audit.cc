// limpid-audit -- trains parts of a published run again and compares every step, bit for bit.
//   limpid-audit run                      all that its checkpoints tell
//   limpid-audit run --from 400 --to 500  the steps between two checkpoints
//   limpid-audit run --sample 3           three intervals by chance
#include "train/audit.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>

#include "apps/support/checkpoint_names.h"
#include "apps/support/program.h"
#include "checkpoint/load.h"
#include "core/log.h"
#include "core/random.h"
#include "recipes/session.h"

using namespace limpid;

// A checkpoint and the one that came about from it.
struct Interval {
  Path from, to;
  int64_t step;  // of `to`
};

static std::vector<Interval> intervals(const Path& run, int64_t first, int64_t last) {
  std::vector<Interval> out;
  std::map<int64_t, Path> folders;
  for (const std::string& name : checkpoint_names(run))
    folders[*step_of_name(name)] = checkpoints_folder(run) / name;
  for (const auto& [step, folder] : folders) {
    const auto parent = read_manifest(folder).parent;
    if (!parent || parent->step < first || step > last) continue;
    require(folders.contains(parent->step), "{}: its parent, step {}, is missing", folder.string(),
            parent->step);
    out.push_back({folders.at(parent->step), folder, step});
  }
  require(!out.empty(), "{} has no two checkpoints that follow each other from step {} to {}",
          run.string(), first, last);
  return out;
}

// `count` of them, each as likely as another, in the order of the run.
static std::vector<Interval> sample(std::vector<Interval> all, int64_t count, uint64_t seed) {
  const Random random(seed, "audit");
  const auto rank = [&](const Interval& interval) {
    return random.words(uint64_t(interval.step))[0];
  };
  std::ranges::sort(all, {}, rank);
  all.erase(all.begin() + std::min<int64_t>(count, int64_t(all.size())), all.end());
  std::ranges::sort(all, {}, &Interval::step);
  return all;
}

// settings: where the shards lie here, if not where the run found them.
static std::vector<std::string> audit_one(const Interval& interval,
                                          const std::vector<std::string>& settings) {
  const CheckpointReader from(interval.from), to(interval.to);
  Session session(Recipe::parse(to.recipe(), (interval.to / kAccount).string(), settings));
  int64_t steps = 0, same = 0;
  const auto differences =
      audit({session.stream, session.model, *session.optimizer, session.batches, session.trainer},
            from, to, [&](const AuditedStep& step) {
              ++steps;
              same += step.differences.empty();
            });
  log("steps {:>8} to {:>8}  {} of {} steps the same, {}", from.step() + 1, to.step(), same, steps,
      differences.empty() ? "confirmed" : "DIFFERENT");
  return differences;
}

static void audit_run(const Path& run, int64_t first, int64_t last, int64_t count, uint64_t seed,
                      const std::vector<std::string>& settings) {
  const std::vector<Interval> all = intervals(run, first, last);
  const std::vector<Interval> chosen = count > 0 ? sample(all, count, seed) : all;
  std::string text;
  for (const Interval& interval : chosen)
    for (const std::string& line : audit_one(interval, settings)) text += "\n  " + line;
  require(text.empty(), "{} is not what its account says:{}", run.string(), text);
  if (chosen.size() == all.size())
    return log("{}: all {} intervals confirmed", run.string(), all.size());
  const double missed = 1 - double(chosen.size()) / double(all.size());
  log("{}: {} of {} intervals confirmed; one forged interval would have been found with "
      "probability {:.2f}, a tenth of them with {:.2f}",
      run.string(), chosen.size(), all.size(), 1 - missed,
      1 - std::pow(0.9, double(chosen.size())));
}

int main(int argc, char** argv) {
  CLI::App app("Trains parts of a run again from its checkpoints and compares every step.");
  std::string run;
  int64_t first = 0, last = std::numeric_limits<int64_t>::max(), count = 0;
  uint64_t seed = 1;
  std::vector<std::string> settings;
  app.add_option("run", run, "the run's folder")->required();
  app.add_option("--from", first, "begin at the first checkpoint of this step or later")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--to", last, "end at the last checkpoint of this step or earlier")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--sample", count, "audit so many intervals between checkpoints, by chance")
      ->check(CLI::PositiveNumber);
  app.add_option("--seed", seed, "of the choice of intervals");
  app.add_option("--set", settings,
                 "another place for the data, as in --set data.train='[\"here.h5\"]', or device")
      ->allow_extra_args(false)
      ->take_all();
  return run_program(app, argc, argv, [&] { audit_run(run, first, last, count, seed, settings); });
}
