#include "apps/support/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>

namespace limpid {
namespace {

std::string option_name(const std::string& key) {
  std::string out = "--" + key;
  std::replace(out.begin(), out.end(), '_', '-');
  return out;
}

bool is_flag(const Entry& entry) { return entry.allowed == "true | false"; }
bool is_text(const Entry& entry) { return entry.value.starts_with('"'); }

}  // namespace

Options::Options(CLI::App& app, std::vector<Entry> entries)
    : app_(app), entries_(std::move(entries)) {
  for (const Entry& entry : entries_) {
    const std::string name = option_name(entry.key);
    if (is_flag(entry)) {
      app.add_flag(name, entry.help);
      continue;
    }
    std::string help = entry.help + " [" + entry.value + "]";
    if (!entry.allowed.empty()) help += " (" + entry.allowed + ")";
    app.add_option(name, texts_[entry.key], help)->option_text(" ");
  }
}

Settings Options::settings() const {
  Settings out;
  for (const Entry& entry : entries_) {
    const std::string name = option_name(entry.key);
    if (app_.count(name) == 0) continue;
    if (is_flag(entry)) {
      out[entry.key] = {true, name};
    } else if (is_text(entry)) {
      out[entry.key] = {texts_.at(entry.key), name};
    } else {
      out[entry.key] = {parse_setting(entry.key + "=" + texts_.at(entry.key)).second.value, name};
    }
  }
  return out;
}

}  // namespace limpid
