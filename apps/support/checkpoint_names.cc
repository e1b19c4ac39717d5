#include "apps/support/checkpoint_names.h"

namespace limpid {

std::vector<std::string> checkpoint_names(const Path& run) {
  const Path folder = checkpoints_folder(run);
  require(file_exists(folder), "{} is not the folder of a run: it has no checkpoints/",
          run.string());
  std::vector<std::string> names = list_folder(folder);
  std::erase_if(names, [](const std::string& name) { return !step_of_name(name); });
  require(!names.empty(), "{} has no checkpoints yet", run.string());
  return names;
}

}  // namespace limpid
