#include "checkpoint/verify.h"

#include <algorithm>
#include <map>
#include <set>

#include "checkpoint/journal.h"
#include "checkpoint/load.h"
#include "core/hdf5.h"

namespace limpid {
namespace {

using Lines = std::vector<std::string>;

void append(Lines& to, const Lines& lines) { to.insert(to.end(), lines.begin(), lines.end()); }

Lines find_strangers(const CheckpointReader& reader) {
  Lines out;
  for (const std::string& name : list_folder(reader.folder())) {
    const auto is_it = [&](const ManifestFile& file) { return file.name == name; };
    if (name != kManifestName && std::ranges::none_of(reader.manifest().files, is_it))
      out.push_back(format("{}: is not in the manifest", name));
  }
  return out;
}

// Only for files whose hashes hold.
Lines compare_places(const Path& folder, const ManifestFile& file) {
  const hdf5::Reader reader(folder / file.name);
  std::set<std::string> known;
  Lines out;
  for (const ManifestTensor& tensor : file.tensors) {
    known.insert("/" + tensor.name);
    const hdf5::Extent found = reader.extent("/" + tensor.name);
    if (found.offset != tensor.offset || found.shape != tensor.shape || found.dtype != tensor.dtype)
      out.push_back(format("{}: tensor {} is {} {} at byte {}, by the manifest {} {} at {}",
                           file.name, tensor.name, found.dtype, found.shape, found.offset,
                           tensor.dtype, tensor.shape, tensor.offset));
  }
  for (const std::string& name : reader.datasets())
    if (!known.contains(name))
      out.push_back(format("{}: {} is not in the manifest", file.name, name));
  return out;
}

// Every step since the parent must have its record, and none may have samples alone.
Lines find_missing_steps(const CheckpointReader& reader) {
  std::set<int64_t> recorded;
  for (const StepRecord& record : reader.metrics()) recorded.insert(record.step);
  Lines out;
  const auto& parent = reader.manifest().parent;
  for (int64_t step = (parent ? parent->step : 0) + 1; step <= reader.step(); ++step)
    if (!recorded.contains(step))
      out.push_back(format("{}: the record of step {} is missing", kAccount, step));
  std::set<int64_t> sampled;
  const OrderLog order = reader.order();
  sampled.insert(order.step.begin(), order.step.end());
  for (const int64_t step : recorded)
    if (!sampled.contains(step))
      out.push_back(format("{}: the samples of step {} are missing", kAccount, step));
  return out;
}

Lines verify_content(const CheckpointReader& reader) {
  try {
    Lines out = find_missing_steps(reader);
    for (const char* name : {kModel, kOptimizer})
      append(out, compare_places(reader.folder(), reader.manifest().file(name)));
    return out;
  } catch (const Error& error) {
    return {error.what()};
  }
}

// Where each parent stands that a manifest names.
Lines verify_chain(const std::map<int64_t, Manifest>& manifests) {
  Lines out;
  for (const auto& [step, manifest] : manifests) {
    if (manifest.run != manifests.begin()->second.run)
      out.push_back(format("{}: is of another run than those before", step_name(step)));
    if (!manifest.parent) continue;
    const auto parent = manifests.find(manifest.parent->step);
    if (parent == manifests.end())
      out.push_back(format("{}: came about from {}, which is missing", step_name(step),
                           step_name(manifest.parent->step)));
    else if (parent->second.hash != manifest.parent->hash)
      out.push_back(format("{}: came about from another {} than the one that stands here",
                           step_name(step), step_name(manifest.parent->step)));
  }
  return out;
}

Lines verify_journal(const Path& file) {
  try {
    if (file_exists(file)) read_journal(file);
    return {};
  } catch (const Error& error) {
    return {error.what()};
  }
}

}  // namespace

std::vector<std::string> verify_checkpoint(const Path& folder) {
  Lines out = find_damage(folder);
  if (!out.empty()) return out;
  const CheckpointReader reader(folder);
  out = find_strangers(reader);
  append(out, verify_content(reader));
  return out;
}

std::vector<std::string> verify_run(const Path& run, const CheckpointDone& done) {
  const Path folder = checkpoints_folder(run);
  std::map<int64_t, Manifest> manifests;
  Lines out;
  for (const std::string& name : list_folder(folder)) {
    const auto step = step_of_name(name);
    if (!step) continue;
    const Lines problems = verify_checkpoint(folder / name);
    done(name, problems);
    for (const std::string& line : problems) out.push_back(format("{}: {}", name, line));
    std::string why_not;
    if (const auto reader = try_open(folder / name, why_not)) manifests[*step] = reader->manifest();
  }
  append(out, verify_chain(manifests));
  append(out, verify_journal(run / "journal.jsonl"));
  return out;
}

}  // namespace limpid
