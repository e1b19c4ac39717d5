#include "core/fields.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

namespace limpid {
namespace {

template <class T, class F>
std::string array_text(const std::vector<T>& values, F text) {
  std::string out = "[";
  for (const T& value : values) out += (out.size() > 1 ? ", " : "") + text(value);
  return out + "]";
}

std::string number_text(double value) {
  return value == std::floor(value) && std::abs(value) < 1e15 ? format("{:.0f}", value)
                                                              : format("{}", value);
}

int64_t edits(std::string_view a, std::string_view b) {
  std::vector<int64_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    int64_t diagonal = std::exchange(row[0], int64_t(i));
    for (size_t j = 1; j <= b.size(); ++j) {
      const int64_t change = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, change});
    }
  }
  return row.back();
}

}  // namespace

std::string quote(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\r':
        out += "\\r";
        break;
      default:
        out += uint8_t(c) < 0x20 ? format("\\u{:04x}", int(c)) : std::string(1, c);
    }
  }
  return out + "\"";
}

std::string exact(double value) {
  char text[40];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  std::string out(text, end);
  return out.find_first_of(".en") == std::string::npos ? out + ".0" : out;
}

std::string to_string(Range range) {
  const bool low = std::isfinite(range.min), high = std::isfinite(range.max) && range.max < 9e15;
  if (low && high) return number_text(range.min) + " to " + number_text(range.max);
  if (low) return number_text(range.min) + " or more";
  if (high) return "at most " + number_text(range.max);
  return "";
}

void EntryList::add(const char* name, std::string value, const char* help, std::string allowed) {
  entries.push_back({prefix_ + name, std::move(value), help, std::move(allowed)});
}
void EntryList::field(const char* name, bool& value, const char* help) {
  add(name, value ? "true" : "false", help, "true | false");
}
void EntryList::field(const char* name, int64_t& value, const char* help, Range range) {
  add(name, std::to_string(value), help, to_string(range));
}
void EntryList::field(const char* name, double& value, const char* help, Range range) {
  add(name, exact(value), help, to_string(range));
}
void EntryList::field(const char* name, std::string& value, const char* help) {
  add(name, quote(value), help);
}
void EntryList::field(const char* name, std::vector<int64_t>& value, const char* help) {
  add(name, array_text(value, [](int64_t v) { return std::to_string(v); }), help);
}
void EntryList::field(const char* name, std::vector<double>& value, const char* help) {
  add(name, array_text(value, exact), help);
}
void EntryList::field(const char* name, std::vector<std::string>& value, const char* help) {
  add(name, array_text(value, [](const std::string& v) { return quote(v); }), help);
}
void EntryList::choice(const char* name, int& index, std::span<const char* const> names,
                       const char* help) {
  std::string allowed;
  for (const char* one : names) allowed += (allowed.empty() ? "" : " | ") + std::string(one);
  add(name, quote(names[size_t(index)]), help, allowed);
}
void EntryList::begin(const char* name, const char* help) {
  entries.push_back({prefix_ + name, "", help, "", true});
  prefix_ += std::string(name) + ".";
}
void EntryList::end() {
  prefix_.pop_back();
  const size_t dot = prefix_.rfind('.');
  prefix_.resize(dot == std::string::npos ? 0 : dot + 1);
}

std::string to_json(const std::vector<Entry>& entries) {
  std::string out = "{";
  std::vector<std::string> open;  // groups now open, as "a.b"
  bool first = true;
  for (const Entry& entry : entries) {
    while (!open.empty() && !entry.key.starts_with(open.back() + ".")) {
      out += "}";
      open.pop_back();
      first = false;
    }
    const size_t dot = entry.key.rfind('.');
    out += (first ? "" : ", ") + quote(entry.key.substr(dot == std::string::npos ? 0 : dot + 1)) +
           ": ";
    if (entry.is_group) {
      out += "{";
      open.push_back(entry.key);
    } else {
      out += entry.value;
    }
    first = entry.is_group;
  }
  return out + std::string(open.size(), '}') + "}";
}

std::vector<std::string> differences(const std::vector<Entry>& here,
                                     const std::vector<Entry>& there) {
  std::map<std::string, std::string> values;
  for (const Entry& entry : there)
    if (!entry.is_group) values[entry.key] = entry.value;
  std::vector<std::string> out;
  for (const Entry& entry : here) {
    if (entry.is_group) continue;
    const auto found = values.find(entry.key);
    const std::string other = found == values.end() ? "not set" : found->second;
    if (other != entry.value)
      out.push_back(format("{}: {} here, {} there", entry.key, entry.value, other));
  }
  return out;
}

std::string nearest(std::string_view word, const std::vector<std::string>& known) {
  std::string best;
  int64_t least = std::max<int64_t>(3, int64_t(word.size()) / 2);
  for (const std::string& one : known)
    if (const int64_t distance = edits(word, one); distance < least) least = distance, best = one;
  return best;
}

}  // namespace limpid
