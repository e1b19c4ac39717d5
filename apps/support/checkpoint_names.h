#pragma once

#include <string>
#include <vector>

#include "checkpoint/save.h"

namespace limpid {

// The names of a run's checkpoints, by step. Throws Error where the folder is no run's or has none.
std::vector<std::string> checkpoint_names(const Path& run);

}  // namespace limpid
