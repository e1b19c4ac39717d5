#include "checkpoint/manifest.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "checkpoint/pieces.h"
#include "core/hash.h"

namespace limpid {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kFormat = "limpid checkpoint 1";
constexpr std::string_view kHashKey = " \"sha256\": \"";
constexpr std::string_view kEnd = "\"\n}\n";
constexpr int64_t kLimitBytes = int64_t(256) << 20;

Json to_json(const ManifestTensor& tensor) {
  Json dims = Json::array();
  for (int i = 0; i < tensor.shape.rank(); ++i) dims.push_back(tensor.shape[i]);
  return {{"name", tensor.name},     {"dtype", to_string(tensor.dtype)}, {"shape", dims},
          {"offset", tensor.offset}, {"pieces", tensor.pieces},          {"root", root_of(tensor)}};
}

Json to_json(const ManifestFile& file) {
  Json tensors = Json::array();
  for (const ManifestTensor& tensor : file.tensors) tensors.push_back(to_json(tensor));
  return {{"name", file.name},
          {"bytes", file.bytes},
          {"rest", file.rest},
          {"tensors", tensors},
          {"root", root_of(file)}};
}

void check(bool ok, const std::string& where, std::string_view what) {
  require(ok, "{}: {}", where, what);
}

void check_hash(const std::string& hash, const std::string& where) {
  const bool good = hash.size() == 64 && std::all_of(hash.begin(), hash.end(), [](char c) {
                      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
                    });
  require(good, "{}: '{}' is not a sha256", where, hash);
}

std::vector<std::string> hashes_from(const Json& json, const std::string& where) {
  const auto out = json.get<std::vector<std::string>>();
  for (const std::string& hash : out) check_hash(hash, where);
  return out;
}

Shape shape_from(const Json& json, const std::string& where) {
  Shape shape;
  int64_t total = 1;
  check(json.is_array() && json.size() <= Shape::kMaxRank, where, "has a shape of no use");
  for (const Json& dim : json) {
    const int64_t size = dim.get<int64_t>();
    check(size > 0 && total <= (int64_t(1) << 48) / size, where, "has a shape of no use");
    total *= size;
    shape.append(size);
  }
  return shape;
}

ManifestTensor tensor_from(const Json& json, const std::string& file) {
  ManifestTensor tensor;
  tensor.name = json.at("name").get<std::string>();
  const std::string where = file + ": tensor " + tensor.name;
  tensor.shape = shape_from(json.at("shape"), where);
  tensor.dtype = dtype_from(json.at("dtype").get<std::string>());
  tensor.offset = json.at("offset").get<int64_t>();
  tensor.pieces = hashes_from(json.at("pieces"), where);
  check(int64_t(tensor.pieces.size()) == piece_count(tensor.bytes()), where,
        "has another number of pieces than its size asks for");
  check(json.at("root") == root_of(tensor), where, "does not have its root");
  return tensor;
}

ManifestFile file_from(const Json& json, const std::string& manifest) {
  ManifestFile file;
  file.name = json.at("name").get<std::string>();
  const std::string where = manifest + ": " + file.name;
  check(
      !file.name.empty() && file.name.find('/') == std::string::npos && !file.name.starts_with('.'),
      where, "is not the name of a file in this folder");
  file.bytes = json.at("bytes").get<int64_t>();
  check(file.bytes >= 0, where, "has a size below 0");
  file.rest = hashes_from(json.at("rest"), where);
  int64_t end = 0;
  int64_t rest = file.bytes;
  for (const Json& entry : json.at("tensors")) {
    file.tensors.push_back(tensor_from(entry, where));
    const ManifestTensor& tensor = file.tensors.back();
    check(tensor.offset >= end && tensor.bytes() <= file.bytes - tensor.offset,
          where + ": tensor " + tensor.name, "lies outside the file or in another tensor");
    end = tensor.offset + tensor.bytes();
    rest -= tensor.bytes();
  }
  check(int64_t(file.rest.size()) == piece_count(rest), where,
        "has another number of pieces than its size asks for");
  check(json.at("root") == root_of(file), where, "does not have its root");
  return file;
}

Manifest manifest_from(const Json& json, const std::string& where) {
  Manifest manifest;
  const auto written = json.at("format").get<std::string>();
  require(written == kFormat, "{}: is a '{}', this program reads '{}'", where, written, kFormat);
  manifest.run = json.at("run").get<std::string>();
  manifest.step = json.at("step").get<int64_t>();
  if (const Json& parent = json.at("parent"); !parent.is_null()) {
    manifest.parent = {parent.at("step").get<int64_t>(), parent.at("manifest").get<std::string>()};
    check_hash(manifest.parent->hash, where);
  }
  for (const Json& file : json.at("files")) manifest.files.push_back(file_from(file, where));
  for (const char* name : {kModel, kOptimizer, kAccount}) manifest.file(name);
  return manifest;
}

}  // namespace

const ManifestFile& Manifest::file(std::string_view name) const {
  for (const ManifestFile& candidate : files)
    if (candidate.name == name) return candidate;
  fail("the checkpoint of step {} has no {}", step, name);
}

std::string merkle_root(std::vector<std::string> hashes) {
  if (hashes.empty()) return sha256_hex("");
  while (hashes.size() > 1) {
    std::vector<std::string> above;
    for (size_t i = 0; i + 1 < hashes.size(); i += 2)
      above.push_back(sha256_hex(hashes[i] + hashes[i + 1]));
    if (hashes.size() % 2) above.push_back(hashes.back());
    hashes = std::move(above);
  }
  return hashes[0];
}

std::string root_of(const ManifestTensor& tensor) { return merkle_root(tensor.pieces); }

std::string root_of(const ManifestFile& file) {
  std::vector<std::string> roots = {merkle_root(file.rest)};
  for (const ManifestTensor& tensor : file.tensors) roots.push_back(root_of(tensor));
  return merkle_root(std::move(roots));
}

std::string write_manifest(Manifest& manifest) {
  Json json = {{"format", kFormat}, {"run", manifest.run}, {"step", manifest.step}};
  json["parent"] = nullptr;
  if (manifest.parent)
    json["parent"] = {{"step", manifest.parent->step}, {"manifest", manifest.parent->hash}};
  json["files"] = Json::array();
  for (const ManifestFile& file : manifest.files) json["files"].push_back(to_json(file));

  std::string text = json.dump(1);
  text.resize(text.size() - std::string_view("\n}").size());
  text += ",\n";
  manifest.hash = sha256_hex(text);
  return text.append(kHashKey).append(manifest.hash).append(kEnd);
}

Manifest parse_manifest(std::string_view text, const std::string& where) {
  const size_t tail = kHashKey.size() + 64 + kEnd.size();
  check(text.size() > tail && text.ends_with(kEnd) &&
            text.substr(text.size() - tail).starts_with(kHashKey),
        where, "does not end with its sha256: it is cut off or damaged");
  const std::string_view body = text.substr(0, text.size() - tail);
  const std::string hash(text.substr(body.size() + kHashKey.size(), 64));
  check(sha256_hex(body) == hash, where, "does not have the sha256 that it ends with");
  try {
    Manifest manifest = manifest_from(Json::parse(text), where);
    manifest.hash = hash;
    return manifest;
  } catch (const nlohmann::json::exception& error) {
    fail("{}: {}", where, error.what());
  }
}

Manifest read_manifest(const Path& folder) {
  const Path path = folder / kManifestName;
  Manifest manifest = parse_manifest(read_text(path, kLimitBytes), path.string());
  const std::string name = folder.filename().string();
  if (const auto step = step_of_name(name))
    require(*step == manifest.step, "{}: is of step {}, but lies in {}", path.string(),
            manifest.step, name);
  return manifest;
}

Path checkpoints_folder(const Path& run) { return run / "checkpoints"; }

std::string step_name(int64_t step) { return format("step-{:08d}", step); }

std::optional<int64_t> step_of_name(const std::string& name) {
  constexpr std::string_view kPrefix = "step-";
  if (!name.starts_with(kPrefix) || name.size() > 20) return {};
  int64_t step = 0;
  const char* begin = name.data() + kPrefix.size();
  const auto [end, error] = std::from_chars(begin, name.data() + name.size(), step);
  if (error != std::errc() || step < 0 || name != step_name(step)) return {};
  return step;
}

}  // namespace limpid
