#include "recipes/recipe.h"

#include <algorithm>

#include "core/cuda.h"
#include "core/file.h"
#include "recipes/toml.h"

namespace limpid {
namespace {

template <class Config>
void check_group(Problems& problems, const char* name, const Config& config) {
  problems.prefix = std::string(name) + ".";
  config.check(problems);
  problems.prefix.clear();
}

// What several keys must fulfil together, within a component and between them.
void check(const Recipe& recipe, Problems& problems) {
  check_group(problems, "model", recipe.model);
  check_group(problems, "data", recipe.data);
  check_group(problems, "optimizer", recipe.optimizer);
  check_group(problems, "train", recipe.train);
}

// "recipe.toml:12: " for a key that was set there, "" for a default.
std::string place(const Recipe& recipe, const std::string& key) {
  const auto found = recipe.origins.find(key);
  return found == recipe.origins.end() ? "" : found->second + ": ";
}

Recipe assemble(const Settings& settings) {
  Recipe recipe;
  Assign assign(settings);
  recipe.fields(assign);
  std::vector<std::string> problems = std::move(assign.problems);
  for (const auto& [key, setting] : settings) {
    if (std::count(assign.known.begin(), assign.known.end(), key)) {
      recipe.origins[key] = setting.origin;
      continue;
    }
    const std::string near = nearest(key, assign.known);
    problems.push_back(
        format("{}: there is no key {}{}", setting.origin, key,
               near.empty() ? "; --help lists all" : "; did you mean " + near + "?"));
  }
  if (problems.empty()) {
    Problems found;
    check(recipe, found);
    for (const auto& [key, text] : found.found)
      problems.push_back(format("{}{} {}", place(recipe, key), key, text));
  }
  if (problems.empty()) return recipe;
  std::string message = "the recipe cannot be used:";
  for (const std::string& problem : problems) message += "\n  " + problem;
  throw Error(message);
}

void apply(Settings& settings, const std::vector<std::string>& texts) {
  for (const std::string& text : texts) {
    auto [key, setting] = parse_setting(text);
    settings[key] = std::move(setting);
  }
}

}  // namespace

Recipe Recipe::load(const std::vector<std::string>& files,
                    const std::vector<std::string>& settings) {
  Settings all;
  for (const std::string& file : files)
    for (auto& [key, setting] : parse_toml(read_text(file, 1 << 20), file))
      all[key] = std::move(setting);
  apply(all, settings);
  return assemble(all);
}

Recipe Recipe::parse(const std::string& text, const std::string& name,
                     const std::vector<std::string>& settings) {
  Settings all = parse_toml(text, name);
  apply(all, settings);
  return assemble(all);
}

void Recipe::fields(Fields& f) {
  static constexpr const char* kDevices[] = {"auto", "cpu", "cuda"};
  f.field("run", run, "the run's folder: journal and checkpoints");
  f.field("seed", seed, "of initial weights and dropout", kNotNegative);
  f.field("device", device, kDevices, "auto takes a GPU where this build and machine have one");
  f.group("model", model, "the shape of the model");
  f.group("data", data, "token shards, made by limpid-tokenize");
  f.group("optimizer", optimizer, "how parameters move");
  f.group("schedule", schedule, "the learning rate over steps");
  f.group("train", train, "steps and batches");
  f.group("validation", validation, "loss on held-out data while training");
  f.group("checkpoint", checkpoint, "what is saved and when");
  f.group("log", log, "what is shown and kept");
}

Device Recipe::resolve_device() const {
  if (device == DeviceChoice::cpu) return Device::cpu;
  if (device == DeviceChoice::automatic) return cuda::available() ? Device::cuda : Device::cpu;
  require(cuda::linked(),
          "{}device = \"cuda\", but this build has no CUDA backend: build it with `cmake --preset "
          "cuda && cmake --build --preset cuda`, or take device = \"cpu\" or \"auto\"",
          place(*this, "device"));
  require(cuda::available(),
          "{}device = \"cuda\", but no GPU can be used here (nvidia-smi lists what the driver "
          "sees); take device = \"cpu\" or \"auto\"",
          place(*this, "device"));
  return Device::cuda;
}

std::string Recipe::to_toml() const {
  std::string out = "# The resolved recipe of a run: every value, and where it came from.\n";
  for (const Entry& entry : list_entries(*this)) {
    if (entry.is_group) {
      out += format("\n[{}]\n", entry.key);
      continue;
    }
    const auto origin = origins.find(entry.key);
    out += format("{} = {}  # {}\n", entry.key.substr(entry.key.rfind('.') + 1), entry.value,
                  origin == origins.end() ? "default" : origin->second);
  }
  return out;
}

std::string recipe_help() {
  std::string out;
  for (const Entry& entry : list_entries(Recipe{})) {
    if (entry.is_group) {
      out += format("\n[{}]  {}\n", entry.key, entry.help);
      continue;
    }
    const std::string allowed =
        entry.allowed.empty() || entry.allowed == "true | false" ? "" : " (" + entry.allowed + ")";
    out += format("  {} = {}\n      {}{}\n", entry.key, entry.value, entry.help, allowed);
  }
  return out;
}

}  // namespace limpid
