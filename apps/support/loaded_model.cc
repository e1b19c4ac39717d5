#include "apps/support/loaded_model.h"

#include "checkpoint/save.h"
#include "core/log.h"
#include "recipes/recipe.h"

namespace limpid {
namespace {

LoadedModel load_checkpoint(const CheckpointReader& reader) {
  const Recipe recipe = Recipe::parse(reader.recipe(), (reader.folder() / "account.h5").string());
  LoadedModel loaded{.step = reader.step(),
                     .folder = reader.folder(),
                     .model = std::make_unique<Model>(recipe.model, Device::cpu, false),
                     .tokenizer = Tokenizer::from_bytes(reader.tokenizer())};
  std::vector<NamedTensor> values;
  for (const Param& param : loaded.model->params()) values.push_back({param.name, param.value});
  reader.read("model.h5", values);
  return loaded;
}

}  // namespace

LoadedModel load_model(const Path& checkpoint_or_run) {
  if (file_exists(checkpoint_or_run / kManifestName))
    return load_checkpoint(CheckpointReader(checkpoint_or_run));
  const Path checkpoints = checkpoints_folder(checkpoint_or_run);
  std::vector<std::string> names = list_folder(checkpoints);
  std::erase_if(names, [](const std::string& name) { return !step_of_name(name); });
  require(!names.empty(), "{} is neither a checkpoint (it has no {}) nor a run with checkpoints",
          checkpoint_or_run.string(), kManifestName);
  for (size_t i = names.size(); i-- > 0;) {
    std::vector<std::string> damage = find_damage(checkpoints / names[i]);
    if (damage.empty()) return load_checkpoint(CheckpointReader(checkpoints / names[i]));
    warn("{} is passed over: {}", names[i], damage.front());
  }
  fail("{}: every checkpoint is damaged", checkpoints.string());
}

}  // namespace limpid
