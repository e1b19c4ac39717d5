#pragma once

#include <functional>
#include <string>
#include <vector>

#include "checkpoint/manifest.h"

namespace limpid {

// What is wrong with one checkpoint, a line each: a byte that does not have its hash, a file that
// the manifest does not name, a tensor that HDF5 finds in another place than the manifest, a step
// whose record or samples the account misses. Empty where nothing is.
std::vector<std::string> verify_checkpoint(const Path& folder);

// The same of all checkpoints of a run, then the chain of their manifests and the journal. Calls
// done with the name and the problems of each checkpoint as it goes.
using CheckpointDone = std::function<void(const std::string&, const std::vector<std::string>&)>;
std::vector<std::string> verify_run(const Path& run, const CheckpointDone& done);

}  // namespace limpid
