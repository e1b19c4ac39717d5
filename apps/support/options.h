#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/error.h"
#include "recipes/toml.h"

namespace CLI {
class App;
}

namespace limpid {

// Every key of a Config as an option of a command: skip_bad is --skip-bad.
class Options {
 public:
  // Declares them, with the defaults that the config has now.
  template <class Config>
  Options(CLI::App& app, const Config& config) : Options(app, list_entries(config)) {}

  // After parsing: sets what was given. Throws Error with all that does not fit.
  template <class Config>
  void apply(Config& config) const {
    const Settings given = settings();
    Assign assign(given);
    config.fields(assign);
    std::string wrong;
    for (const std::string& problem : assign.problems) wrong += "\n  " + problem;
    require(wrong.empty(), "the command line does not fit:{}", wrong);
  }

 private:
  Options(CLI::App& app, std::vector<Entry> entries);
  Settings settings() const;

  CLI::App& app_;
  std::vector<Entry> entries_;
  std::map<std::string, std::string> texts_;  // as given, by key
};

}  // namespace limpid
