#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/fields.h"
#include "core/file.h"
#include "data/documents.h"
#include "data/shard.h"

namespace limpid {

struct ReaderConfig {
  std::vector<std::string> inputs;  // files and folders
  DocumentsConfig documents;
  bool skip_bad = false;

  void fields(Fields& f);
};

// Reads the documents of files in the order given, of folders by sorted path with all below them.
// A folder's files that are no UTF-8 text at their beginning are left out and counted, and so are
// empty documents. All else that cannot be read is an Error with file and line, or is counted with
// skip_bad.
class Reader {
 public:
  explicit Reader(ReaderConfig config);
  ~Reader();

  // False after the last part.
  bool next(Part& part);

  struct Counts {
    int64_t documents = 0;
    int64_t empty = 0;      // documents and files without text, left out
    int64_t bad = 0;        // documents and files left out for skip_bad
    int64_t not_text = 0;   // files of folders left out
    std::string first_bad;  // what was wrong with the first
  };
  const Counts& counts() const { return counts_; }
  // Files read to their end so far; Part::source counts in it. documents is left 0.
  const std::vector<Source>& sources() const { return sources_; }
  int64_t bytes_total() const { return bytes_total_; }  // of all files, on disk
  int64_t bytes_read() const;

 private:
  struct Found {
    Path path;
    int64_t bytes = 0;
    bool by_name = false;  // given itself, not found in a folder
  };
  void find(const Path& input);
  void find_below(const Path& folder);
  bool open_next();
  void close();
  void bad(const std::string& what);

  ReaderConfig config_;
  std::vector<Found> files_;
  size_t next_file_ = 0;
  int64_t bytes_total_ = 0, bytes_closed_ = 0;
  std::vector<Source> sources_;
  Counts counts_;
  std::unique_ptr<Documents> open_;
  int64_t documents_before_ = 0;  // the open file
  bool inside_ = false;           // a document of several parts
};

}  // namespace limpid
