#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/manifest.h"
#include "core/file.h"

// The bytes of a checkpoint between memory and file, hashed on all cores as they pass.
namespace limpid {

int64_t piece_count(int64_t bytes);

// work(0) ... work(count - 1), on as many threads as the process has cores. The first exception
// ends the work and is thrown here.
void parallel_each(int64_t count, const std::function<void(int64_t)>& work);

// Writes each tensor of the file's manifest to its place and fills in its hashes. sources: one
// address a tensor.
void write_tensors(File&, ManifestFile&, std::span<const void* const> sources);
// Copies all that stands outside the tensors from another file and fills in its size and hashes.
void write_rest(File&, ManifestFile&, File& from);

// One tensor to read; target null: only to be checked.
struct TensorRead {
  const ManifestTensor* tensor;
  void* target;
};
// Reads and checks; returns what is damaged, a line each, in the order of the file.
std::vector<std::string> read_tensors(File&, const std::string& name, std::span<const TensorRead>);
std::vector<std::string> check_rest(File&, const ManifestFile&);
// Each on a line of its own, indented, after a line's end.
std::string join_lines(const std::vector<std::string>&);
// The whole file.
std::vector<std::string> check_file(File&, const ManifestFile&);

}  // namespace limpid
