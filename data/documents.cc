#include "data/documents.h"

#include <simdjson.h>

#include <algorithm>

#include "core/error.h"
#include "data/utf8.h"

namespace limpid {
namespace {

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

class WholeFile : public Documents {
 public:
  using Documents::Documents;

  bool next(Part& part) override {
    const std::string_view window = input_.peek(kPartBytes + 1);
    if (window.empty()) return false;
    std::string_view text = window.substr(0, kPartBytes);
    if (text.size() < window.size()) text.remove_suffix(cut_character(text));
    part.first = first_;
    part.last = text.size() == window.size();
    part.text.assign(text);
    first_ = false;
    input_.skip(text.size());
    if (!is_text(text)) input_.end();
    require_text(part.text, line_);
    line_ += std::count(text.begin(), text.end(), '\n');
    return true;
  }

 private:
  bool first_ = true;
  int64_t line_ = 1;
};

class Lines : public Documents {
 public:
  using Documents::Documents;

  bool next(Part& part) override {
    std::string_view line;
    do {
      if (!input_.line(line)) return false;
    } while (line.empty());
    require_text(line, input_.line_number());
    part.text.assign(line);
    part.first = part.last = true;
    return true;
  }
};

class Paragraphs : public Documents {
 public:
  using Documents::Documents;

  bool next(Part& part) override {
    part.first = part.last = true;
    part.text.clear();
    int64_t begin = 0;
    for (std::string_view line; input_.line(line);) {
      if (!is_blank(line)) {
        if (part.text.empty())
          begin = input_.line_number();
        else
          part.text += '\n';
        part.text.append(line);
        require(part.text.size() <= Input::kLongest,
                "line {}: the paragraph is longer than {} bytes", begin, Input::kLongest);
      } else if (!part.text.empty()) {
        break;
      }
    }
    require_text(part.text, begin);
    return !part.text.empty();
  }
};

class JsonLines : public Documents {
 public:
  JsonLines(const Path& path, std::string field) : Documents(path), field_(std::move(field)) {}

  bool next(Part& part) override {
    std::string_view line;
    do {
      if (!input_.line(line)) return false;
      if (input_.line_number() == 1 && line.starts_with("\xef\xbb\xbf")) line.remove_prefix(3);
    } while (is_blank(line));
    const int64_t number = input_.line_number();
    simdjson::dom::element value;
    // Input keeps kPadding readable bytes behind each view, which simdjson asks for.
    if (const auto error = parser_.parse(line.data(), line.size(), false).get(value))
      fail("line {}: no JSON object of one line: {}", number, simdjson::error_message(error));
    simdjson::dom::object object;
    require(value.get(object) == simdjson::SUCCESS, "line {}: JSON, but no object", number);
    simdjson::dom::element text;
    require(object.at_key(field_).get(text) == simdjson::SUCCESS,
            "line {}: there is no field \"{}\", only {}: name the field with --field", number,
            field_, names(object));
    std::string_view found;
    require(text.get(found) == simdjson::SUCCESS, "line {}: the field \"{}\" is no text", number,
            field_);
    require_text(found, number);
    part.text.assign(found);
    part.first = part.last = true;
    return true;
  }

 private:
  static std::string names(const simdjson::dom::object& object) {
    constexpr size_t kMost = 200;
    std::string out;
    for (const auto& [key, value] : object)
      if (out.size() < kMost) out += (out.empty() ? "\"" : ", \"") + std::string(key) + "\"";
    return out.empty() ? "an empty object" : out;
  }

  static_assert(Input::kPadding >= simdjson::SIMDJSON_PADDING);
  std::string field_;
  simdjson::dom::parser parser_;
};

bool is_json_lines(const Path& path) {
  const bool packed = path.extension() == ".gz" || path.extension() == ".zst";
  const Path inner = packed ? path.stem() : path;
  return inner.extension() == ".jsonl" || inner.extension() == ".ndjson" ||
         inner.extension() == ".json";
}

}  // namespace

void DocumentsConfig::fields(Fields& f) {
  static constexpr const char* kFormats[] = {"automatic", "text", "jsonl"};
  static constexpr const char* kSplits[] = {"files", "lines", "paragraphs"};
  f.field("format", format, kFormats, "how files hold documents; automatic: by the file's name");
  f.field("split", split, kSplits, "what is a document in files of text");
  f.field("field", field, "the field of a JSON line that holds the text");
}

std::unique_ptr<Documents> open_documents(const DocumentsConfig& config, const Path& path) {
  if (config.format == TextFormat::jsonl ||
      (config.format == TextFormat::automatic && is_json_lines(path)))
    return std::make_unique<JsonLines>(path, config.field);
  switch (config.split) {
    case TextSplit::files:
      return std::make_unique<WholeFile>(path);
    case TextSplit::lines:
      return std::make_unique<Lines>(path);
    case TextSplit::paragraphs:
      return std::make_unique<Paragraphs>(path);
  }
  fail("{}: no such way to split text", path.string());
}

bool is_text(std::string_view text) {
  return text.find('\0') == std::string_view::npos && is_utf8(text);
}

void require_text(std::string_view text, int64_t line) {
  if (is_text(text)) return;
  size_t good = 0;
  while (good < text.size() && text[good] != 0) {
    const size_t bytes = first_character(text.substr(good)).bytes;
    if (!is_utf8(text.substr(good, bytes))) break;
    good += bytes;
  }
  line += std::count(text.begin(), text.begin() + int64_t(good), '\n');
  fail("line {}: {}", line,
       text[good] == 0 ? "a NUL byte: is it text?" : "not UTF-8: convert the file, with iconv say");
}

}  // namespace limpid
