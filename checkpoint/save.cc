#include "checkpoint/save.h"

#include <algorithm>
#include <map>

#include "checkpoint/account.h"
#include "checkpoint/load.h"
#include "checkpoint/nonce.h"
#include "checkpoint/pieces.h"
#include "core/hdf5.h"
#include "core/log.h"

namespace limpid {
namespace {

constexpr std::string_view kUnfinished = ".tmp-";

std::vector<NamedTensor> sorted(std::vector<NamedTensor> tensors) {
  std::ranges::sort(tensors, {}, &NamedTensor::name);
  for (size_t i = 0; i + 1 < tensors.size(); ++i)
    require(tensors[i].name != tensors[i + 1].name, "two tensors are named {}", tensors[i].name);
  return tensors;
}

int64_t stored_bytes(const std::vector<NamedTensor>& tensors) {
  constexpr int64_t kOfEach = 2 * hdf5::kPage;  // its place on a page, its header, its manifest
  int64_t bytes = 1 << 20;
  for (const NamedTensor& tensor : tensors) bytes += tensor.tensor.bytes() + kOfEach;
  return bytes;
}

// A checkpoint on its way: a hidden folder that goes away with this object unless commit() was
// reached.
class Saving {
 public:
  Saving(Disk& disk, const Path& checkpoints, int64_t step)
      : disk_(disk),
        checkpoints_(checkpoints),
        folder_(checkpoints / format("{}{}-{}", kUnfinished, step, make_nonce(4))) {
    disk_.make_folders(folder_);
  }
  ~Saving() {
    if (committed_) return;
    files_.clear();
    try {
      disk_.remove_all(folder_);
    } catch (const Error& error) {
      warn("an unfinished checkpoint stays until the next start: {}", error.what());
    }
  }
  Saving(const Saving&) = delete;
  Saving& operator=(const Saving&) = delete;

  // Lays the file out, then streams each tensor from its own memory to its place.
  ManifestFile write_tensors(const std::string& name, const std::vector<NamedTensor>& tensors) {
    hdf5::Writer writer(layout());
    std::map<std::string, const void*> memory;
    for (const auto& [path, tensor] : sorted(tensors)) {
      writer.reserve("/" + path, tensor.shape, tensor.dtype);
      memory["/" + path] = tensor.data;
    }
    std::vector<hdf5::Extent> extents = writer.close();
    std::ranges::sort(extents, {}, &hdf5::Extent::offset);
    ManifestFile manifest{.name = name};
    std::vector<const void*> sources;
    for (const auto& [path, shape, dtype, offset] : extents) {
      manifest.tensors.push_back({path.substr(1), shape, dtype, offset});
      sources.push_back(memory.at(path));
    }
    File& file = create(manifest);
    limpid::write_tensors(file, manifest, sources);
    return manifest;
  }

  ManifestFile write_account(const State& state, const Account& account) {
    hdf5::Writer writer(layout());
    limpid::write_account(writer, state, account);
    writer.close();
    ManifestFile manifest{.name = kAccount};
    create(manifest);
    return manifest;
  }

  // Returns once the bytes are on the medium and the medium gives them back as they were.
  void sync_and_read_back(const Manifest& manifest) {
    parallel_each(int64_t(files_.size()), [&](int64_t i) { files_[size_t(i)]->sync(); });
    for (size_t i = 0; i < files_.size(); ++i) {
      files_[i]->drop_cache();
      const std::vector<std::string> damage = check_file(*files_[i], manifest.files[i]);
      require(damage.empty(), "the disk does not give back what was written: {} in {}",
              damage.empty() ? "" : damage[0], folder_.string());
    }
  }

  void commit(Manifest& manifest) {
    const std::string text = write_manifest(manifest);
    const auto file = disk_.create(folder_ / kManifestName);
    file->write_at(0, text.data(), int64_t(text.size()));
    file->sync();
    disk_.sync_folder(folder_);
    const Path finished = checkpoints_ / step_name(manifest.step);
    if (file_exists(finished)) move_aside(finished);
    disk_.rename(folder_, finished);
    committed_ = true;
    disk_.sync_folder(checkpoints_);
  }

 private:
  // Where the HDF5 library lays a file out. It writes by itself, so all that it wrote is copied
  // through the Disk, which no write of a checkpoint may pass by; the tensors' places are holes.
  Path layout() const { return folder_ / "layout"; }

  File& create(ManifestFile& manifest) {
    files_.push_back(disk_.create(folder_ / manifest.name));
    write_rest(*files_.back(), manifest, *disk_.open(layout()));
    disk_.remove_all(layout());
    return *files_.back();
  }

  // The same step was reached again, from an earlier checkpoint: the one that stood there is kept
  // under another name.
  void move_aside(const Path& finished) {
    const Path aside = format("{}.replaced-{}", finished.string(), make_nonce(4));
    disk_.rename(finished, aside);
    warn("{} stood there already: it is now {}", finished.string(), aside.string());
  }

  Disk& disk_;
  Path checkpoints_, folder_;
  std::vector<std::unique_ptr<File>> files_;  // in the order of the manifest's
  bool committed_ = false;
};

std::string first_of(const std::vector<std::string>& lines) {
  return lines.size() == 1 ? lines[0] : format("{} (and {} more)", lines[0], lines.size() - 1);
}

}  // namespace

bool CheckpointConfig::due(int64_t steps_done) const {
  const bool regular = every > 0 && steps_done > 0 && steps_done % every == 0;
  return regular || std::find(at.begin(), at.end(), steps_done) != at.end();
}

Checkpoints::Checkpoints(const CheckpointConfig& config, const Path& run, Disk& disk)
    : config_(config), folder_(checkpoints_folder(run)), disk_(disk), lock_(disk, run) {
  disk_.make_folders(folder_);
  for (const std::string& name : list_folder(folder_)) {
    if (!name.starts_with(kUnfinished)) continue;
    disk_.remove_all(folder_ / name);
    log("removed {}, which an interrupted save left", (folder_ / name).string());
  }
}

Path Checkpoints::folder(int64_t step) const { return folder_ / step_name(step); }

std::vector<int64_t> Checkpoints::steps() const {
  std::vector<int64_t> out;
  for (const std::string& name : list_folder(folder_))
    if (const auto step = step_of_name(name)) out.push_back(*step);
  std::sort(out.begin(), out.end());
  return out;
}

void Checkpoints::save(const State& state, const Account& account) {
  const int64_t need =
      stored_bytes(state.model) + stored_bytes(state.optimizer) + account_bytes(account);
  const int64_t free = disk_.free_bytes(folder_);
  require(need <= free,
          "{}: a checkpoint needs {}, {} are free: make room, earlier checkpoints are untouched",
          folder_.string(), human_bytes(double(need)), human_bytes(double(free)));
  Saving saving(disk_, folder_, state.step);
  Manifest manifest{.run = run_id(), .step = state.step, .parent = parent_};
  manifest.files.push_back(saving.write_tensors(kModel, state.model));
  manifest.files.push_back(saving.write_tensors(kOptimizer, state.optimizer));
  manifest.files.push_back(saving.write_account(state, account));
  saving.sync_and_read_back(manifest);
  saving.commit(manifest);
  parent_ = {state.step, manifest.hash};
}

// What keeps a folder's checkpoint from being one of this run.
std::vector<std::string> Checkpoints::foreign(const Manifest& manifest) const {
  if (manifest.run == run_id()) return {};
  return {format("{}: is of the run {}, this one is {}", kManifestName, manifest.run, run_id())};
}

std::optional<int64_t> Checkpoints::newest_verified() {
  std::vector<int64_t> candidates = steps();
  for (; !candidates.empty(); candidates.pop_back()) {
    const int64_t step = candidates.back();
    std::vector<std::string> problems = find_damage(folder(step));
    if (problems.empty()) problems = foreign(read_manifest(folder(step)));
    if (problems.empty()) return step;
    warn("passed over {}: {}", folder(step).string(), first_of(problems));
  }
  return {};
}

std::vector<std::string> Checkpoints::try_load(int64_t step, State& into) {
  std::string why_not;
  const auto reader = try_open(folder(step), why_not);
  if (!reader) return {why_not};
  std::vector<std::string> problems = foreign(reader->manifest());
  if (!problems.empty()) return problems;

  std::vector<std::string> differences = reader->differences(kModel, into.model);
  for (std::string& line : reader->differences(kOptimizer, into.optimizer))
    differences.push_back(std::move(line));
  require(differences.empty(), "{} does not fit this run:{}", folder(step).string(),
          join_lines(differences));

  problems = reader->try_read(kModel, into.model);
  for (std::string& line : reader->try_read(kOptimizer, into.optimizer))
    problems.push_back(std::move(line));
  for (std::string& line : reader->check(kAccount)) problems.push_back(std::move(line));
  if (!problems.empty()) return problems;
  into.step = step;
  into.counters = reader->counters();
  parent_ = {step, reader->manifest().hash};
  return {};
}

void Checkpoints::load(int64_t step, State& into) {
  const std::vector<std::string> problems = try_load(step, into);
  require(problems.empty(), "{} cannot be used:{}", folder(step).string(), join_lines(problems));
}

std::optional<int64_t> Checkpoints::load_newest(State& into) {
  std::vector<int64_t> candidates = steps();
  for (; !candidates.empty(); candidates.pop_back()) {
    const int64_t step = candidates.back();
    const std::vector<std::string> problems = try_load(step, into);
    if (problems.empty()) return step;
    warn("passed over {}: {}", folder(step).string(), first_of(problems));
  }
  return {};
}

}  // namespace limpid
