// Pre-trains one model from one recipe.
//   limpid-train recipes/quickstart.toml --set train.steps=100
#include <CLI/CLI.hpp>

#include "apps/support/program.h"
#include "apps/support/train_report.h"
#include "core/log.h"
#include "kernels/matmul.h"
#include "model/count.h"
#include "parallel/place.h"
#include "recipes/session.h"
#include "train/run.h"
#include "train/stop.h"

using namespace limpid;

// A run goes on with the recipe that it began with; what does not change its numbers may change.
static void check_same_recipe(const Recipe& recipe, const std::string& before) {
  std::string refused;
  for (const std::string& line : differences(
           list_entries(recipe), list_entries(Recipe::parse(before, "the checkpoint's recipe")))) {
    const std::string key = line.substr(0, line.find(':'));
    if (!changes_numbers(key)) continue;
    refused += "\n  " + line;
  }
  require(refused.empty(),
          "{} was begun with another recipe:{}\nset these back, or choose another folder: --set "
          "run=...",
          recipe.run, refused);
}

// Several processes would train the same run side by side.
static void require_one_rank() {
  const Place place = find_place(process_environment());
  require(place.size == 1,
          "this is one of {} processes that were started together, but a run trains in one so far: "
          "start limpid-train alone",
          place.size);
}

static void train(const Recipe& recipe) {
  require_one_rank();
  const int64_t idle_bytes = process_peak_bytes();
  StopRequest stop_request;
  const auto stop = [&] { return stop_request.raised(); };
  Session session(recipe);
  Batches& batches = session.batches;
  Trainer& trainer = session.trainer;
  Run run({recipe.checkpoint, recipe.run, recipe.log.tensorboard, session.stream, session.model,
           *session.optimizer, batches},
          {recipe.to_toml(), to_json(list_entries(recipe))});

  Progress progress = run.begin(recipe.seed, recipe.train.resume, [&](const std::string& before) {
    check_same_recipe(recipe, before);
  });
  const int64_t side = session.stream.device == Device::cuda ? 8192 : 1024;
  const double peak = 1e9 * gemm_rate_gflops(session.stream, side, 10);
  Meter meter(recipe.log,
              {recipe.train.steps, flops_per_token(recipe.model, recipe.model.context), peak},
              progress.step);
  print_start(recipe, batches, progress, peak);
  const auto validate = [&] {
    for (ValidationSet& set : batches.validation())
      if (const auto loss = trainer.validate(set, stop)) {
        run.validation(progress.step, set.info().name, *loss);
        meter.say(validation_line(set, progress.step, *loss));
      }
  };

  // Tells of the steps that are done; `ahead` may be left on their way.
  bool first_of_process = true;
  const auto tell = [&](int64_t ahead) {
    while (const auto result = trainer.finish_step(progress, ahead)) {
      meter.step(run.step(*result), result->samples * recipe.model.context);
      if (first_of_process) print_high_water(trainer);
      first_of_process = false;
    }
  };
  if (progress.step == 0 && run.due(progress)) run.save(progress);
  while (progress.step < recipe.train.steps && !stop()) {
    if (!trainer.begin_step(progress, stop)) break;
    const bool validation = recipe.validation.due(progress.step, recipe.train.steps);
    tell(validation || run.due(progress) ? 0 : trainer.ahead());
    if (validation) validate();
    if (run.due(progress)) run.save(progress);
  }
  tell(0);
  if (stop()) run.event(progress.step, "stop", "asked to stop by a signal");
  require(run.save(progress),
          "the last checkpoint could not be saved; the one before stands, and the same command "
          "goes on from it");
  meter.say(format("memory     {} at most, above the {} of the idle process",
                   human_bytes(double(process_peak_bytes() - idle_bytes)),
                   human_bytes(double(idle_bytes))));
  meter.say(format("{} after step {}; {}", stop() ? "stopped" : "finished", progress.step,
                   run.checkpoint_folder(progress.step).string()));
}

int main(int argc, char** argv) {
  CLI::App app(
      "Pre-trains a GPT or LLaMA from a recipe (TOML). A run that was interrupted goes on with the "
      "same command.");
  std::vector<std::string> files, settings;
  bool dry_run = false, print_recipe = false;
  app.add_option("RECIPE", files, "recipe files; later ones override earlier ones")->required();
  app.add_option("--set", settings, "override one key, as in --set train.steps=100")
      ->allow_extra_args(false)
      ->take_all();
  app.add_flag("--dry-run", dry_run,
               "show parameters, memory, tokens and an estimate of the time, then stop");
  app.add_flag("--print-recipe", print_recipe,
               "show the resolved recipe with the origin of each value, then stop");
  app.footer("\nKeys of a recipe, their defaults and what they mean:\n" + recipe_help());
  return run_program(app, argc, argv, [&] {
    const Recipe recipe = Recipe::load(files, settings);
    if (print_recipe) return log_line(recipe.to_toml());
    if (dry_run) return print_dry_run(recipe);
    train(recipe);
  });
}
