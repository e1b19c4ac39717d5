// limpid-checkpoint -- shows what the checkpoints of a run hold and whether they hold.
//   limpid-checkpoint list run
//   limpid-checkpoint show run/checkpoints/step-00000400
//   limpid-checkpoint verify run
//   limpid-checkpoint diff run/checkpoints/step-00000400 run/checkpoints/step-00000800
//   limpid-checkpoint order run 417
//   limpid-checkpoint rebuild run 417 rebuilt
#include <CLI/CLI.hpp>
#include <cmath>
#include <cstring>
#include <ctime>
#include <map>

#include "apps/support/checkpoint_names.h"
#include "apps/support/program.h"
#include "checkpoint/load.h"
#include "checkpoint/snapshot.h"
#include "checkpoint/verify.h"
#include "core/log.h"
#include "core/memory.h"
#include "data/tokenizer.h"
#include "kernels/reduce.h"
#include "recipes/session.h"
#include "train/audit.h"
#include "train/run.h"

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

// How two tensors of the same shape differ.
static std::string difference(const CheckpointReader& a, const CheckpointReader& b,
                              const std::string& file, const ManifestTensor& tensor) {
  const Buffer memory(Device::cpu, 2 * aligned(tensor.bytes()), tensor.name);
  const Tensor one = memory.tensor(0, tensor.shape, tensor.dtype);
  const Tensor two = memory.tensor(aligned(tensor.bytes()), tensor.shape, tensor.dtype);
  a.read_some(file, std::vector<NamedTensor>{{tensor.name, one}});
  b.read_some(file, std::vector<NamedTensor>{{tensor.name, two}});
  if (std::memcmp(one.data, two.data, size_t(tensor.bytes())) == 0) return "";
  return with_dtype(tensor.dtype, [&]<class T>() {
    double most = 0, squares = 0, size = 0;
    int64_t others = 0;
    for (int64_t i = 0; i < one.numel(); ++i) {
      const double x = double(one.as<T>()[i]), d = double(two.as<T>()[i]) - x;
      others += std::memcmp(one.as<T>() + i, two.as<T>() + i, sizeof(T)) != 0;
      most = std::max(most, std::abs(d));
      squares += d * d, size += x * x;
    }
    return format("{} of {} elements differ, by {:.3g} at most, {:.3g} of the norm", others,
                  one.numel(), most, std::sqrt(squares / std::max(size, 1e-300)));
  });
}

static void diff(const Path& first, const Path& second) {
  const CheckpointReader a(first), b(second);
  int64_t same = 0, other = 0;
  for (const char* file : {kModel, kOptimizer}) {
    std::map<std::string, ManifestTensor> tensors;
    for (const ManifestTensor& tensor : b.manifest().file(file).tensors)
      tensors[tensor.name] = tensor;
    for (const ManifestTensor& tensor : a.manifest().file(file).tensors) {
      const auto found = tensors.find(tensor.name);
      std::string line;
      if (found == tensors.end())
        line = "only in the first";
      else if (found->second.shape != tensor.shape || found->second.dtype != tensor.dtype)
        line = format("{} {} against {} {}", tensor.dtype, tensor.shape, found->second.dtype,
                      found->second.shape);
      else
        line = difference(a, b, file, tensor);
      if (found != tensors.end()) tensors.erase(found);
      line.empty() ? ++same : ++other;
      if (!line.empty()) log("{:<13} {:<44} {}", file, tensor.name, line);
    }
    for (const auto& [name, tensor] : tensors) {
      ++other;
      log("{:<13} {:<44} only in the second", file, name);
    }
  }
  log("{} tensors are the same to the bit, {} are not", same, other);
}

// The checkpoint whose account tells of a step.
static CheckpointReader account_of(const Path& run, int64_t step) {
  for (const std::string& name : checkpoint_names(run)) {
    if (*step_of_name(name) < step) continue;
    CheckpointReader reader(checkpoints_folder(run) / name);
    const auto& parent = reader.manifest().parent;
    if (!parent || parent->step < step) return reader;
  }
  fail("no checkpoint of {} tells of step {}", run.string(), step);
}

static void show_order(const Path& run, int64_t step, const std::vector<std::string>& settings) {
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

// The account of a checkpoint up to a step of it.
static Account account_until(Stream& stream, const CheckpointReader& reader, int64_t step) {
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

static void rebuild_step(const Path& run, int64_t step, const Path& out,
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
    if (diff_command->parsed()) return diff(path, second);
    if (order_command->parsed()) return show_order(path, step, settings);
    if (rebuild_command->parsed()) return rebuild_step(path, step, out, settings);
    if (list_command->parsed()) return list(path, !fast);
    if (verify_command->parsed()) return verify(path);
    show(is_run(path) ? checkpoints_folder(path) / checkpoint_names(path).back() : path, norms,
         recipe);
  });
}
