#pragma once

#include <limits>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"

namespace limpid {

// Smallest and largest value that a number may take, both included.
struct Range {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
};
inline constexpr Range kPositive = {1, 9e15};  // a count of at least one
inline constexpr Range kNotNegative = {0, 9e15};
inline constexpr Range kFraction = {0, 1};

// Visits every key of a Config once. A Config is a struct with defaults and one function
//   void fields(Fields& f) { f.field("layers", layers, "number of blocks", kPositive); ... }
// and may have check(Problems&) for what several keys must fulfil together.
class Fields {
 public:
  virtual ~Fields() = default;
  virtual void field(const char* name, bool& value, const char* help) = 0;
  virtual void field(const char* name, int64_t& value, const char* help, Range range = {}) = 0;
  virtual void field(const char* name, double& value, const char* help, Range range = {}) = 0;
  virtual void field(const char* name, std::string& value, const char* help) = 0;
  virtual void field(const char* name, std::vector<int64_t>& value, const char* help) = 0;
  virtual void field(const char* name, std::vector<double>& value, const char* help) = 0;
  virtual void field(const char* name, std::vector<std::string>& value, const char* help) = 0;
  // One of names, by its index.
  virtual void choice(const char* name, int& index, std::span<const char* const> names,
                      const char* help) = 0;

  // An enum whose values 0, 1, 2 ... have these names.
  template <class E>
  requires std::is_enum_v<E>
  void field(const char* name, E& value, std::span<const char* const> names, const char* help) {
    int index = int(value);
    choice(name, index, names, help);
    value = E(index);
  }
  // A table of its own.
  template <class Config>
  void group(const char* name, Config& config, const char* help) {
    begin(name, help);
    config.fields(*this);
    end();
  }

 protected:
  virtual void begin(const char* name, const char* help) = 0;
  virtual void end() = 0;
};

// One key as it stands: "model.layers", its value as TOML (which is JSON too, but for a number's
// nan), what it means.
struct Entry {
  std::string key;
  std::string value;
  std::string help;
  std::string allowed;  // "1 or more", "gpt | llama", or empty
  bool is_group = false;
};

// All keys of a config, in the order of its fields(), groups before their keys.
class EntryList : public Fields {
 public:
  std::vector<Entry> entries;

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
  void add(const char* name, std::string value, const char* help, std::string allowed = "");
  std::string prefix_;
};

template <class Config>
std::vector<Entry> list_entries(Config config) {
  EntryList list;
  config.fields(list);
  return std::move(list.entries);
}

// What Config::check finds, a line each. The key is relative to the config.
class Problems {
 public:
  struct Problem {
    std::string key;
    std::string text;
  };
  template <class... T>
  void require(bool ok, const char* key, std::string_view text, const T&... values) {
    if (!ok) found.push_back({prefix + key, format(text, values...)});
  }
  std::string prefix;  // "model."
  std::vector<Problem> found;
};

// "{...}" with nested objects, keys in order.
std::string to_json(const std::vector<Entry>&);
// A text quoted for TOML and JSON.
std::string quote(std::string_view);
// A number that reads back to the same double, always with a point or an exponent.
std::string exact(double);
std::string to_string(Range);

// The keys whose values differ: "optimizer.lr: 0.001 here, 0.0006 there".
std::vector<std::string> differences(const std::vector<Entry>& here,
                                     const std::vector<Entry>& there);
// The known word with the fewest edits from word (Levenshtein 1966), or empty where all are far.
std::string nearest(std::string_view word, const std::vector<std::string>& known);

}  // namespace limpid
