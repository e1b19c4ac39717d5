// limpid-checkpoint -- shows what the checkpoints of a run hold and whether they hold.
//   limpid-checkpoint list run
//   limpid-checkpoint show run/checkpoints/step-00000400
//   limpid-checkpoint verify run
//   limpid-checkpoint diff run/checkpoints/step-00000400 run/checkpoints/step-00000800
//   limpid-checkpoint order run 417
//   limpid-checkpoint rebuild run 417 rebuilt
#include <CLI/CLI.hpp>
#include <cmath>

#include "apps/support/checkpoint_diff.h"
#include "apps/support/checkpoint_names.h"
#include "apps/support/past_step.h"
#include "apps/support/program.h"
#include "checkpoint/load.h"
#include "checkpoint/verify.h"
#include "core/log.h"
#include "core/memory.h"
#include "kernels/reduce.h"

using namespace limpid;

static bool is_run(const Path& folder) { return file_exists(checkpoints_folder(folder)); }

static int64_t bytes_of(const Manifest& manifest) {
  int64_t bytes = 0;
  for (const ManifestFile& file : manifest.files) bytes += file.bytes;
  return bytes;
}

static std::string state_of(const Path& folder, bool check) {
  if (!check) return "not checked";
  const std::vector<std::string> damage = find_damage(folder);
  return damage.empty() ? "verified" : "DAMAGED " + damage[0];
}

static void list(const Path& run, bool check) {
  log("{:>10} {:>12} {:>9} {:>11}  {}", "step", "tokens", "loss", "size", "state");
  for (const std::string& name : checkpoint_names(run)) {
    const Path folder = checkpoints_folder(run) / name;
    std::string why_not;
    const auto reader = try_open(folder, why_not);
    if (!reader) {
      log("{:>10} {:>12} {:>9} {:>11}  DAMAGED {}", *step_of_name(name), "", "", "", why_not);
      continue;
    }
    const bool account_holds = reader->check(kAccount).empty();
    const auto metrics = account_holds ? reader->metrics() : std::vector<StepRecord>();
    log("{:>10} {:>12} {:>9} {:>11}  {}", reader->step(),
        metrics.empty() ? "" : human_count(double(metrics.back().tokens)),
        metrics.empty() ? "" : format("{:.4f}", metrics.back().loss),
        human_bytes(double(bytes_of(reader->manifest()))), state_of(folder, check));
  }
}

// The Euclidean norm, its bytes checked as they are read; empty for what is no floating tensor.
static std::string norm_of(const CheckpointReader& reader, const std::string& file,
                           const ManifestTensor& stored) {
  if (stored.dtype != DType::f32 && stored.dtype != DType::bf16 && stored.dtype != DType::f64)
    return "";
  const Buffer buffer(Device::cpu, stored.bytes(), stored.name);
  const std::vector<NamedTensor> tensor = {
      {stored.name, buffer.tensor(0, stored.shape, stored.dtype)}};
  reader.read_some(file, tensor);
  double squares = 0;
  Stream stream;
  sum_squares(stream, {&squares, {1}, DType::f64}, tensor[0].tensor);
  return format("{:.6g}", std::sqrt(squares));
}

static void show_tensors(const CheckpointReader& reader, const ManifestFile& file, bool norms) {
  int64_t elements = 0;
  for (const ManifestTensor& tensor : file.tensors) elements += tensor.shape.numel();
  log("\n{}: {} tensors, {} elements, {}, root {}", file.name, file.tensors.size(), elements,
      human_bytes(double(file.bytes)), root_of(file));
  for (const ManifestTensor& tensor : file.tensors)
    log("  {:<44} {:<5} {:<20} {}", tensor.name, tensor.dtype, to_string(tensor.shape),
        norms ? norm_of(reader, file.name, tensor) : "");
}

static void show(const Path& folder, bool norms, bool recipe) {
  const CheckpointReader reader(folder);
  if (recipe) return log_line(reader.recipe());
  const Manifest& manifest = reader.manifest();
  log("step      {}", manifest.step);
  log("run       {}", manifest.run);
  log("manifest  {}", manifest.hash);
  if (manifest.parent) log("parent    {} of step {}", manifest.parent->hash, manifest.parent->step);
  for (const auto& [name, value] : reader.counters()) log("{:<9} {}", name, value);
  const auto metrics = reader.metrics();
  if (!metrics.empty())
    log("account   steps {} to {}, last loss {:.4f}, digest {}", metrics.front().step,
        metrics.back().step, metrics.back().loss, metrics.back().digest);
  for (const Event& event : reader.events())
    log("event     step {} {}: {}", event.step, event.kind, event.text);
  for (const char* name : {kModel, kOptimizer}) show_tensors(reader, manifest.file(name), norms);
  log("\nrecipe\n{}", reader.recipe());
}

static void verify(const Path& folder) {
  const auto print = [](const std::string& name, const std::vector<std::string>& problems) {
    log("{}  {}", name, problems.empty() ? "verified" : "DAMAGED");
  };
  std::vector<std::string> problems;
  if (is_run(folder)) {
    checkpoint_names(folder);
    problems = verify_run(folder, print);
  } else {
    problems = verify_checkpoint(folder);
    print(folder.string(), problems);
  }
  std::string text;
  for (const std::string& line : problems) text += "\n  " + line;
  require(problems.empty(), "{} does not hold:{}", folder.string(), text);
}

int main(int argc, char** argv) {
  CLI::App app("Shows what the checkpoints of a run hold, and checks every byte of them.");
  app.require_subcommand(1);
  std::string folder;
  std::string second, out;
  int64_t step = 0;
  std::vector<std::string> settings;
  bool fast = false, norms = false, recipe = false;

  CLI::App* list_command = app.add_subcommand("list", "the checkpoints of a run");
  list_command->add_option("run", folder, "the run's folder")->required();
  list_command->add_flag("--fast", fast, "do not check the hashes");

  CLI::App* show_command = app.add_subcommand("show", "what a checkpoint holds");
  show_command->add_option("checkpoint", folder, "its folder, or a run for its newest")->required();
  show_command->add_flag("--norms", norms, "the Euclidean norm of every tensor too");
  show_command->add_flag("--recipe", recipe, "its recipe alone");

  CLI::App* verify_command =
      app.add_subcommand("verify", "check all hashes, the chain of manifests, that no step misses");
  verify_command->add_option("folder", folder, "a checkpoint or a run")->required();

  CLI::App* diff_command = app.add_subcommand("diff", "two checkpoints, tensor by tensor");
  diff_command->add_option("first", folder, "a checkpoint's folder")->required();
  diff_command->add_option("second", second, "another's")->required();

  const auto add_settings = [&](CLI::App* command) {
    command->add_option("run", folder, "the run's folder")->required();
    command->add_option("step", step, "the step")->required()->check(CLI::NonNegativeNumber);
    command
        ->add_option("--set", settings,
                     "another place for the data, as in --set data.train='[\"here.h5\"]'")
        ->allow_extra_args(false)
        ->take_all();
  };
  CLI::App* order_command =
      app.add_subcommand("order", "what the batch of a step contained: documents and text");
  add_settings(order_command);
  CLI::App* rebuild_command = app.add_subcommand(
      "rebuild", "make the checkpoint of a step between two saved ones, each digest as recorded");
  add_settings(rebuild_command);
  rebuild_command->add_option("out", out, "the folder to make it in, as of a run")->required();

  return run_program(app, argc, argv, [&] {
    const Path path = folder;
    if (diff_command->parsed()) return print_difference(path, second);
    if (order_command->parsed()) return print_samples(path, step, settings);
    if (rebuild_command->parsed()) return rebuild_step(path, step, out, settings);
    if (list_command->parsed()) return list(path, !fast);
    if (verify_command->parsed()) return verify(path);
    show(is_run(path) ? checkpoints_folder(path) / checkpoint_names(path).back() : path, norms,
         recipe);
  });
}
