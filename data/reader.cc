#include "data/reader.h"

#include <algorithm>
#include <set>
#include <utility>

#include "core/error.h"
#include "data/utf8.h"

namespace limpid {
namespace {

constexpr size_t kSniffBytes = 4096;

// Whether a file begins as text does.
bool begins_as_text(Input& input) {
  std::string_view text = input.glance(kSniffBytes);
  text.remove_suffix(cut_character(text));
  return is_text(text);
}

}  // namespace

void ReaderConfig::fields(Fields& f) {
  documents.fields(f);
  f.field("skip_bad", skip_bad, "leave out and count what cannot be read, instead of stopping");
}

Reader::Reader(ReaderConfig config) : config_(std::move(config)) {
  require(!config_.inputs.empty(), "there is nothing to read: name files or folders");
  for (const std::string& input : config_.inputs) find(input);
  require(!files_.empty(), "{} holds no file", config_.inputs[0]);
  for (const Found& file : files_) bytes_total_ += file.bytes;
}
Reader::~Reader() = default;

void Reader::find(const Path& input) {
  std::error_code error;
  const auto status = std::filesystem::status(input, error);
  require(std::filesystem::exists(status), "{}: no such file or folder", input.string());
  if (std::filesystem::is_directory(status)) return find_below(input);
  require(std::filesystem::is_regular_file(status), "{}: neither a file nor a folder",
          input.string());
  files_.push_back({input, int64_t(std::filesystem::file_size(input)), true});
}

// A file that is linked to several times is read once, under the first of its sorted paths.
void Reader::find_below(const Path& folder) {
  std::vector<Path> paths;
  std::error_code error;
  auto at = std::filesystem::recursive_directory_iterator(folder, error);
  require(!error, "cannot read the folder {}: {}", folder.string(), error.message());
  for (; at != std::filesystem::recursive_directory_iterator(); at.increment(error)) {
    std::error_code no_file;
    if (at->is_regular_file(no_file)) paths.push_back(at->path());
  }
  if (error) bad(format("cannot read all of the folder {}: {}", folder.string(), error.message()));
  std::sort(paths.begin(), paths.end());
  std::set<Path> seen;
  for (const Path& path : paths)
    if (seen.insert(std::filesystem::canonical(path, error)).second)
      files_.push_back({path, int64_t(std::filesystem::file_size(path, error)), false});
}

bool Reader::next(Part& part) {
  while (open_ || open_next()) {
    try {
      if (open_->next(part)) {
        part.source = int64_t(sources_.size());
        part.dropped = false;
        inside_ = !part.last;
        if (part.first && part.last && part.text.empty()) {
          ++counts_.empty;
          continue;
        }
        counts_.documents += part.last;
        return true;
      }
      close();
    } catch (const Error& error) {
      bad(format("{}: {}", files_[next_file_ - 1].path.string(), error.what()));
      if (!std::exchange(inside_, false)) continue;
      part = {.text = "", .source = int64_t(sources_.size()), .first = false, .dropped = true};
      return true;
    }
  }
  return false;
}

bool Reader::open_next() {
  while (next_file_ < files_.size()) {
    const Found& file = files_[next_file_++];
    try {
      open_ = open_documents(config_.documents, file.path);
      documents_before_ = counts_.documents + counts_.bad;
      if (file.by_name || begins_as_text(open_->input())) return true;
      ++counts_.not_text;
    } catch (const Error& error) {
      bad(format("{}: {}", file.path.string(), error.what()));
    }
    open_.reset();
    bytes_closed_ += file.bytes;
  }
  return false;
}

void Reader::close() {
  const Found& file = files_[next_file_ - 1];
  RawFile& raw = open_->input().raw();
  const bool nothing = counts_.documents + counts_.bad == documents_before_;
  sources_.push_back({.path = file.path.string(), .bytes = raw.bytes(), .sha256 = raw.sha256()});
  open_.reset();
  bytes_closed_ += file.bytes;
  if (!nothing) return;
  ++counts_.empty;
  if (file.by_name) bad(format("{}: holds no text", file.path.string()));
}

void Reader::bad(const std::string& what) {
  require(config_.skip_bad, "{} (--skip-bad leaves out what cannot be read)", what);
  if (counts_.bad++ == 0) counts_.first_bad = what;
}

int64_t Reader::bytes_read() const {
  return bytes_closed_ + (open_ ? open_->input().raw().bytes_read() : 0);
}

}  // namespace limpid
