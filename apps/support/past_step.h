#pragma once

#include <string>
#include <vector>

#include "core/file.h"

// What a run's checkpoints tell of one of its steps. settings: other values for the run's recipe,
// such as where its shards lie here.
namespace limpid {

// Prints the samples of a step with their text. Throws Error where no checkpoint tells of it.
void print_samples(const Path& run, int64_t step, const std::vector<std::string>& settings);

// Makes the checkpoint of a step that was not saved, in a new run folder `out`, by training from
// the one before. Throws Error where a step on the way is not as it was recorded.
void rebuild_step(const Path& run, int64_t step, const Path& out,
                  const std::vector<std::string>& settings);

}  // namespace limpid
