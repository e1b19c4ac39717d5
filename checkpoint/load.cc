#include "checkpoint/load.h"

#include <algorithm>
#include <set>

#include "checkpoint/account.h"
#include "checkpoint/pieces.h"

namespace limpid {
namespace {

std::string describe(DType dtype, const Shape& shape) { return format("{} {}", dtype, shape); }

const ManifestTensor* find_tensor(const ManifestFile& file, const std::string& name) {
  for (const ManifestTensor& tensor : file.tensors)
    if (tensor.name == name) return &tensor;
  return nullptr;
}

// What keeps `memory` from being filled from the file, a line each.
std::vector<std::string> unusable(const ManifestFile& file, std::span<const NamedTensor> memory) {
  std::vector<std::string> out;
  for (const auto& [name, tensor] : memory) {
    const ManifestTensor* stored = find_tensor(file, name);
    if (!stored)
      out.push_back(format("{}: has no tensor {}", file.name, name));
    else if (stored->shape != tensor.shape || stored->dtype != tensor.dtype)
      out.push_back(format("{}: tensor {} is {}, need {}", file.name, name,
                           describe(stored->dtype, stored->shape),
                           describe(tensor.dtype, tensor.shape)));
  }
  return out;
}

}  // namespace

CheckpointReader::CheckpointReader(const Path& folder)
    : folder_(folder), manifest_(read_manifest(folder)) {}
CheckpointReader::~CheckpointReader() = default;
CheckpointReader::CheckpointReader(CheckpointReader&&) noexcept = default;

std::vector<std::string> CheckpointReader::differences(const std::string& name,
                                                       std::span<const NamedTensor> memory) const {
  const ManifestFile& file = manifest_.file(name);
  std::vector<std::string> out = unusable(file, memory);
  std::set<std::string> wanted;
  for (const NamedTensor& tensor : memory) wanted.insert(tensor.name);
  for (const ManifestTensor& tensor : file.tensors)
    if (!wanted.contains(tensor.name))
      out.push_back(format("{}: tensor {} {} is not wanted", name, tensor.name,
                           describe(tensor.dtype, tensor.shape)));
  return out;
}

void CheckpointReader::read(const std::string& file, std::span<const NamedTensor> into) const {
  const std::vector<std::string> lines = differences(file, into);
  require(lines.empty(), "{} holds other tensors than this run:{}", folder_.string(),
          join_lines(lines));
  read_some(file, into);
}

void CheckpointReader::read_some(const std::string& file, std::span<const NamedTensor> into) const {
  const std::vector<std::string> missing = unusable(manifest_.file(file), into);
  require(missing.empty(), "{} holds other tensors than this run:{}", folder_.string(),
          join_lines(missing));
  const std::vector<std::string> damage = try_read(file, into);
  require(damage.empty(), "{} is damaged:{}", folder_.string(), join_lines(damage));
}

std::vector<std::string> CheckpointReader::try_read(const std::string& name,
                                                    std::span<const NamedTensor> into) const {
  const ManifestFile& manifest = manifest_.file(name);
  std::vector<TensorRead> reads;
  for (const NamedTensor& tensor : into)
    reads.push_back({find_tensor(manifest, tensor.name), tensor.tensor.data});
  try {
    const auto file = real_disk().open(folder_ / name);
    std::vector<std::string> found = check_rest(*file, manifest);
    const std::vector<std::string> damaged = read_tensors(*file, name, reads);
    found.insert(found.end(), damaged.begin(), damaged.end());
    return found;
  } catch (const Error& error) {
    return {error.what()};
  }
}

std::vector<std::string> CheckpointReader::check(const std::string& name) const {
  try {
    return check_file(*real_disk().open(folder_ / name), manifest_.file(name));
  } catch (const Error& error) {
    return {error.what()};
  }
}

const hdf5::Reader& CheckpointReader::account() const {
  if (account_) return *account_;
  const std::vector<std::string> damage = check(kAccount);
  require(damage.empty(), "{} is damaged:{}", folder_.string(), join_lines(damage));
  account_ = std::make_unique<hdf5::Reader>(folder_ / kAccount);
  return *account_;
}

std::string CheckpointReader::recipe() const { return account().text("/recipe"); }
std::string CheckpointReader::config_json() const { return account().text("/config"); }
std::string CheckpointReader::tokenizer() const { return account().blob("/tokenizer"); }
std::string CheckpointReader::data_json() const { return account().text("/data"); }
std::string CheckpointReader::environment_json() const { return account().text("/environment"); }
std::map<std::string, int64_t> CheckpointReader::counters() const {
  return read_counters(account());
}
OrderLog CheckpointReader::order() const { return read_order(account()); }
std::vector<StepRecord> CheckpointReader::metrics() const { return read_metrics(account()); }
std::vector<ValidationRecord> CheckpointReader::validation() const {
  return read_validation(account());
}
std::vector<Event> CheckpointReader::events() const { return read_events(account()); }

std::optional<CheckpointReader> try_open(const Path& folder, std::string& why_not) {
  try {
    return CheckpointReader(folder);
  } catch (const Error& error) {
    why_not = error.what();
    return {};
  }
}

std::vector<std::string> find_damage(const Path& folder) {
  std::string why_not;
  const auto reader = try_open(folder, why_not);
  if (!reader) return {why_not};
  std::vector<std::string> found;
  for (const ManifestFile& file : reader->manifest().files)
    for (std::string& line : reader->check(file.name)) found.push_back(std::move(line));
  return found;
}

}  // namespace limpid
