#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/fields.h"
#include "core/file.h"
#include "data/input.h"

namespace limpid {

enum class TextFormat { automatic, text, jsonl };
enum class TextSplit { files, lines, paragraphs };

// How a file holds documents.
//   .jsonl, .ndjson, .json  one JSON object a line, a document each; empty lines are nothing
//   all else                text: a document each file, line or paragraph (between empty lines)
//   .gz, .zst after these   the same, compressed
struct DocumentsConfig {
  TextFormat format = TextFormat::automatic;
  TextSplit split = TextSplit::files;
  std::string field = "text";

  void fields(Fields& f);
};

// A document, or a part of a long one: parts of one document follow each other.
struct Part {
  std::string text;  // UTF-8 without NUL, cut between characters
  int64_t source = 0;
  bool first = true;
  bool last = true;
  bool dropped = false;  // the document turned out bad: forget its parts; then last is true
};

// The documents of one file.
class Documents {
 public:
  // Long texts come in parts of about this many bytes.
  static constexpr size_t kPartBytes = 1 << 20;

  explicit Documents(const Path& path) : input_(path) {}
  virtual ~Documents() = default;

  // Sets all of part but its source; false at the end. Throws Error with the line; the next call
  // goes on after what was bad.
  virtual bool next(Part& part) = 0;
  Input& input() { return input_; }

 protected:
  Input input_;
};

// Throws Error where the file cannot be opened.
std::unique_ptr<Documents> open_documents(const DocumentsConfig& config, const Path& path);

// Whether it is UTF-8 without NUL.
bool is_text(std::string_view text);
// Throws Error unless is_text(), with the line of the first byte that is not;
// line: the number of the text's first.
void require_text(std::string_view text, int64_t line);

}  // namespace limpid
