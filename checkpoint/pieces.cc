#include "checkpoint/pieces.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

#include "core/hash.h"

namespace limpid {
namespace {

// Small enough to stay in a core's cache between being hashed and being copied.
constexpr int64_t kBlockBytes = int64_t(512) << 10;

struct Piece {
  size_t tensor;
  size_t index;   // which of the tensor's pieces
  int64_t begin;  // first byte, from the tensor's own first
  int64_t bytes;
};

std::vector<Piece> pieces_of(size_t tensor, int64_t bytes) {
  std::vector<Piece> out;
  for (int64_t begin = 0; begin < bytes; begin += kPieceBytes)
    out.push_back({tensor, out.size(), begin, std::min(kPieceBytes, bytes - begin)});
  return out;
}

std::string write_piece(File& file, int64_t offset, const char* data, int64_t bytes) {
  Sha256 hash;
  for (int64_t at = 0; at < bytes; at += kBlockBytes) {
    const int64_t count = std::min(kBlockBytes, bytes - at);
    hash.update(data + at, size_t(count));
    file.write_at(offset + at, data + at, count);
  }
  return to_hex(hash.finish());
}

// Into target, or nowhere.
std::string read_piece(File& file, int64_t offset, char* target, int64_t bytes) {
  std::vector<char> scratch(target ? 0 : size_t(std::min(kBlockBytes, bytes)));
  Sha256 hash;
  for (int64_t at = 0; at < bytes; at += kBlockBytes) {
    const int64_t count = std::min(kBlockBytes, bytes - at);
    char* into = target ? target + at : scratch.data();
    file.read_at(offset + at, into, count);
    hash.update(into, size_t(count));
  }
  return to_hex(hash.finish());
}

// What is wrong with a piece, or nothing.
std::string check_piece(File& file, const std::string& name, const TensorRead& read,
                        const Piece& piece) {
  const int64_t offset = read.tensor->offset + piece.begin;
  char* target = read.target ? static_cast<char*>(read.target) + piece.begin : nullptr;
  try {
    if (read_piece(file, offset, target, piece.bytes) == read.tensor->pieces[piece.index])
      return "";
    return format("{}: tensor {}: bytes {} to {} of the file do not have their sha256", name,
                  read.tensor->name, offset, offset + piece.bytes);
  } catch (const Error& error) {
    return format("{}: tensor {}: {}", name, read.tensor->name, error.what());
  }
}

struct Gap {
  int64_t offset;
  int64_t bytes;
};

// Where the library's own structures and the padding stand: all bytes outside the tensors.
std::vector<Gap> gaps_of(const ManifestFile& file) {
  std::vector<Gap> out;
  int64_t at = 0;
  for (const ManifestTensor& tensor : file.tensors) {
    if (tensor.offset > at) out.push_back({at, tensor.offset - at});
    at = tensor.offset + tensor.bytes();
  }
  if (file.bytes > at) out.push_back({at, file.bytes - at});
  return out;
}

// The gaps joined.
std::string read_rest(File& file, const ManifestFile& manifest) {
  std::string out;
  for (const Gap& gap : gaps_of(manifest)) {
    const size_t have = out.size();
    out.resize(have + size_t(gap.bytes));
    file.read_at(gap.offset, out.data() + have, gap.bytes);
  }
  return out;
}

std::vector<std::string> hashes_of(const std::string& rest) {
  std::vector<std::string> out;
  for (const Piece& piece : pieces_of(0, int64_t(rest.size())))
    out.push_back(to_hex(sha256(rest.data() + piece.begin, size_t(piece.bytes))));
  return out;
}

}  // namespace

int64_t piece_count(int64_t bytes) { return (bytes + kPieceBytes - 1) / kPieceBytes; }

void parallel_each(int64_t count, const std::function<void(int64_t)>& work) {
  std::atomic<int64_t> next = 0;
  std::exception_ptr error;
  std::mutex error_mutex;
  const auto run = [&] {
    try {
      for (int64_t i = next++; i < count; i = next++) work(i);
    } catch (...) {
      next = count;
      const std::lock_guard lock(error_mutex);
      if (!error) error = std::current_exception();
    }
  };
  std::vector<std::jthread> threads;
  const int64_t cores = std::max<int64_t>(1, std::thread::hardware_concurrency());
  for (int64_t i = 1; i < std::min(cores, count); ++i) threads.emplace_back(run);
  run();
  threads.clear();
  if (error) std::rethrow_exception(error);
}

void write_tensors(File& file, ManifestFile& manifest, std::span<const void* const> sources) {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < manifest.tensors.size(); ++i) {
    const std::vector<Piece> own = pieces_of(i, manifest.tensors[i].bytes());
    manifest.tensors[i].pieces.resize(own.size());
    pieces.insert(pieces.end(), own.begin(), own.end());
  }
  parallel_each(int64_t(pieces.size()), [&](int64_t i) {
    const Piece& piece = pieces[size_t(i)];
    ManifestTensor& tensor = manifest.tensors[piece.tensor];
    const char* data = static_cast<const char*>(sources[piece.tensor]) + piece.begin;
    tensor.pieces[piece.index] = write_piece(file, tensor.offset + piece.begin, data, piece.bytes);
  });
}

void write_rest(File& file, ManifestFile& manifest, File& from) {
  manifest.bytes = from.size();
  const std::string rest = read_rest(from, manifest);
  manifest.rest = hashes_of(rest);
  file.truncate(manifest.bytes);
  const char* bytes = rest.data();
  for (const Gap& gap : gaps_of(manifest)) {
    file.write_at(gap.offset, bytes, gap.bytes);
    bytes += gap.bytes;
  }
}

std::vector<std::string> read_tensors(File& file, const std::string& name,
                                      std::span<const TensorRead> reads) {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < reads.size(); ++i) {
    const std::vector<Piece> own = pieces_of(i, reads[i].tensor->bytes());
    pieces.insert(pieces.end(), own.begin(), own.end());
  }
  std::vector<std::string> found(pieces.size());
  parallel_each(int64_t(pieces.size()), [&](int64_t i) {
    const Piece& piece = pieces[size_t(i)];
    found[size_t(i)] = check_piece(file, name, reads[piece.tensor], piece);
  });
  std::erase(found, "");
  return found;
}

std::vector<std::string> check_rest(File& file, const ManifestFile& manifest) {
  const int64_t bytes = file.size();
  if (bytes != manifest.bytes)
    return {format("{}: has {} bytes, need {}: it is {}", manifest.name, bytes, manifest.bytes,
                   bytes < manifest.bytes ? "truncated" : "not the file that was saved")};
  if (hashes_of(read_rest(file, manifest)) == manifest.rest) return {};
  return {format("{}: the bytes outside its tensors do not have their sha256", manifest.name)};
}

std::vector<std::string> check_file(File& file, const ManifestFile& manifest) {
  std::vector<std::string> found = check_rest(file, manifest);
  if (file.size() != manifest.bytes) return found;
  std::vector<TensorRead> reads;
  for (const ManifestTensor& tensor : manifest.tensors) reads.push_back({&tensor, nullptr});
  const std::vector<std::string> damaged = read_tensors(file, manifest.name, reads);
  found.insert(found.end(), damaged.begin(), damaged.end());
  return found;
}

std::string join_lines(const std::vector<std::string>& lines) {
  std::string out;
  for (const std::string& line : lines) out += "\n  " + line;
  return out;
}

}  // namespace limpid
