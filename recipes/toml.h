#pragma once

#include <map>
#include <string>
#include <variant>
#include <vector>

#include "core/fields.h"

namespace limpid {

// One value of a TOML document, with its place for messages.
struct Setting {
  using Value = std::variant<bool, int64_t, double, std::string, std::vector<bool>,
                             std::vector<int64_t>, std::vector<double>, std::vector<std::string>>;
  Value value;
  std::string origin;  // "recipe.toml:12"
};
using Settings = std::map<std::string, Setting>;  // by "model.layers"

// All values of a TOML text. Throws Error with name and line on bad syntax, on tables in arrays,
// arrays of mixed types, dates.
Settings parse_toml(const std::string& text, const std::string& name);
// "a.b=c" as on a command line: c is TOML, or a bare word, which is a text.
std::pair<std::string, Setting> parse_setting(const std::string& text);

// Fills a config from settings. What does not fit is put into problems, one line each; used keys
// are marked.
class Assign : public Fields {
 public:
  explicit Assign(const Settings& settings) : settings_(settings) {}
  std::vector<std::string> problems;
  std::vector<std::string> known;  // every key of the config

  void field(const char*, bool&, const char*) override;
  void field(const char*, int64_t&, const char*, Range) override;
  void field(const char*, double&, const char*, Range) override;
  void field(const char*, std::string&, const char*) override;
  void field(const char*, std::vector<int64_t>&, const char*) override;
  void field(const char*, std::vector<double>&, const char*) override;
  void field(const char*, std::vector<std::string>&, const char*) override;
  void choice(const char*, int&, std::span<const char* const>, const char*) override;

 protected:
  void begin(const char* name, const char* help) override;
  void end() override;

 private:
  const Setting* find(const char* name);
  void problem(const char* name, const Setting&, const std::string& need);
  template <class T>
  void number(const char* name, T& value, Range range, const char* need);
  template <class T>
  void list(const char* name, std::vector<T>& value, const char* need);

  const Settings& settings_;
  std::string prefix_;
};

}  // namespace limpid
