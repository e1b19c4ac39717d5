#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/file.h"
#include "core/tensor.h"

// MANIFEST.json: what a checkpoint consists of, so that every byte can be checked before it is
// used. All hashes are SHA-256 as 64 hex digits.
namespace limpid {

inline constexpr int64_t kPieceBytes = int64_t(64) << 20;
inline constexpr const char* kManifestName = "MANIFEST.json";
// The files of every checkpoint.
inline constexpr const char* kModel = "model.h5";
inline constexpr const char* kOptimizer = "optimizer.h5";
inline constexpr const char* kAccount = "account.h5";

// A tensor stored in one run of bytes, hashed in pieces of 64 MiB from its first byte.
struct ManifestTensor {
  std::string name;  // its path in the HDF5 file, without the first slash
  Shape shape;
  DType dtype = DType::f32;
  int64_t offset = 0;                    // bytes from the start of the file
  std::vector<std::string> pieces = {};  // one hash a piece
  int64_t bytes() const { return shape.numel() * size_of(dtype); }
};

struct ManifestFile {
  std::string name;  // "model.h5"
  int64_t bytes = 0;
  std::vector<ManifestTensor> tensors = {};  // by offset
  std::vector<std::string> rest = {};  // of all bytes outside tensors, joined, in pieces of 64 MiB
};

struct ManifestParent {
  int64_t step = 0;
  std::string hash;
};

struct Manifest {
  std::string run;  // the id of the run that wrote it
  int64_t step = 0;
  std::optional<ManifestParent> parent = {};  // the checkpoint that this one came about from
  std::vector<ManifestFile> files = {};
  std::string hash = {};  // of the manifest's own text: what a child's parent and a score cite

  // Throws Error where there is no such file.
  const ManifestFile& file(std::string_view name) const;
};

// The root of a binary tree over hashes: neighbours are joined, sha256(left + right) over their hex
// digits, an odd last one moves up as it is; sha256 of nothing where there are none.
std::string merkle_root(std::vector<std::string> hashes);
std::string root_of(const ManifestTensor&);
std::string root_of(const ManifestFile&);  // over its rest's root and its tensors' roots

// The whole text; sets manifest.hash.
std::string write_manifest(Manifest&);
// Throws Error, beginning with where, for anything but an undamaged text of write_manifest.
Manifest parse_manifest(std::string_view text, const std::string& where);
// The manifest of a checkpoint's folder, its step checked against the folder's name.
Manifest read_manifest(const Path& folder);

// RUN/checkpoints
Path checkpoints_folder(const Path& run);
// "step-00000400"
std::string step_name(int64_t step);
// 400, or nothing where it is no such name.
std::optional<int64_t> step_of_name(const std::string& name);

}  // namespace limpid
