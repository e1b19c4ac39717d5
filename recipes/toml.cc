#include "recipes/toml.h"

#define TOML_EXCEPTIONS 1
#define TOML_ASSERT(ok) \
  static_cast<void>(0)  // its parser asserts on broken text before it refuses it
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

namespace limpid {
namespace {

std::string origin_of(const toml::node& node, const std::string& name) {
  return format("{}:{}", name, node.source().begin.line);
}

template <class T>
std::vector<T> values_of(const toml::array& array) {
  std::vector<T> out;
  for (const toml::node& node : array) out.push_back(*node.value<T>());
  return out;
}

Setting::Value array_value(const toml::array& array, const std::string& key,
                           const std::string& origin) {
  const auto all = [&](auto is) {
    for (const toml::node& node : array)
      if (!is(node)) return false;
    return true;
  };
  if (array.empty() || all([](const auto& n) { return n.is_string(); }))
    return values_of<std::string>(array);
  if (all([](const auto& n) { return n.is_integer(); })) return values_of<int64_t>(array);
  if (all([](const auto& n) { return n.is_number(); })) return values_of<double>(array);
  if (all([](const auto& n) { return n.is_boolean(); })) return values_of<bool>(array);
  fail("{}: {} must be a list of numbers or of texts, all of one kind", origin, key);
}

Setting setting_of(const toml::node& node, const std::string& key, const std::string& name) {
  const std::string origin = origin_of(node, name);
  if (const auto* array = node.as_array()) return {array_value(*array, key, origin), origin};
  if (const auto* value = node.as_boolean()) return {value->get(), origin};
  if (const auto* value = node.as_integer()) return {value->get(), origin};
  if (const auto* value = node.as_floating_point()) return {value->get(), origin};
  if (const auto* value = node.as_string()) return {value->get(), origin};
  fail("{}: {} must be a number, true or false, a text or a list, not a date or time", origin, key);
}

void flatten(const toml::table& table, const std::string& prefix, const std::string& name,
             Settings& out) {
  for (const auto& [part, node] : table) {
    const std::string key = prefix + std::string(part.str());
    if (const auto* inner = node.as_table())
      flatten(*inner, key + ".", name, out);
    else
      out[key] = setting_of(node, key, name);
  }
}

std::string kind_of(const Setting::Value& value) {
  constexpr const char* kKinds[] = {
      "true or false",           "a whole number",          "a number",          "a text",
      "a list of true or false", "a list of whole numbers", "a list of numbers", "a list of texts"};
  return kKinds[value.index()];
}

}  // namespace

Settings parse_toml(const std::string& text, const std::string& name) {
  Settings out;
  try {
    flatten(toml::parse(text, name), "", name, out);
  } catch (const toml::parse_error& error) {  // the library's own exception, given our form
    fail("{}:{}: {}", name, error.source().begin.line, error.description());
  }
  return out;
}

std::pair<std::string, Setting> parse_setting(const std::string& text) {
  const size_t equals = text.find('=');
  require(equals != std::string::npos && equals > 0,
          "--set {}: write KEY=VALUE, as in train.steps=100", text);
  const std::string key = text.substr(0, equals), value = text.substr(equals + 1);
  const std::string origin = "--set";
  try {
    const toml::table table = toml::parse("value = " + value);
    if (table.size() == 1 && !table.begin()->second.is_table())
      return {key, {setting_of(table.begin()->second, key, origin).value, origin}};
  } catch (const toml::parse_error&) {  // not TOML: a bare word
  }
  return {key, {value, origin}};
}

const Setting* Assign::find(const char* name) {
  known.push_back(prefix_ + name);
  const auto found = settings_.find(prefix_ + name);
  return found == settings_.end() ? nullptr : &found->second;
}

void Assign::problem(const char* name, const Setting& setting, const std::string& need) {
  problems.push_back(format("{}: {}{} must be {}", setting.origin, prefix_, name, need));
}

template <class T>
void Assign::number(const char* name, T& value, Range range, const char* need) {
  const Setting* setting = find(name);
  if (!setting) return;
  T given;
  if (const auto* whole = std::get_if<int64_t>(&setting->value))
    given = T(*whole);
  else if (const auto* real = std::get_if<double>(&setting->value);
           real && std::is_floating_point_v<T>)
    given = T(*real);
  else
    return problem(name, *setting, format("{}, not {}", need, kind_of(setting->value)));
  if (!(double(given) >= range.min && double(given) <= range.max))
    return problem(name, *setting, format("{}, not {}", to_string(range), given));
  value = given;
}

template <class T>
void Assign::list(const char* name, std::vector<T>& value, const char* need) {
  const Setting* setting = find(name);
  if (!setting) return;
  if (const auto* given = std::get_if<std::vector<T>>(&setting->value)) {
    value = *given;
  } else if (const auto* texts = std::get_if<std::vector<std::string>>(&setting->value);
             texts && texts->empty()) {
    value.clear();
  } else if (const auto* whole = std::get_if<std::vector<int64_t>>(&setting->value)) {
    if constexpr (std::is_same_v<T, double>)
      value.assign(whole->begin(), whole->end());
    else
      problem(name, *setting, format("{}, not {}", need, kind_of(setting->value)));
  } else {
    problem(name, *setting, format("{}, not {}", need, kind_of(setting->value)));
  }
}

void Assign::field(const char* name, bool& value, const char*) {
  if (const Setting* setting = find(name)) {
    if (const auto* given = std::get_if<bool>(&setting->value))
      value = *given;
    else
      problem(name, *setting, format("true or false, not {}", kind_of(setting->value)));
  }
}

void Assign::field(const char* name, std::string& value, const char*) {
  if (const Setting* setting = find(name)) {
    if (const auto* given = std::get_if<std::string>(&setting->value))
      value = *given;
    else
      problem(name, *setting, format("a text in quotes, not {}", kind_of(setting->value)));
  }
}

void Assign::field(const char* name, int64_t& value, const char*, Range range) {
  number(name, value, range, "a whole number");
}
void Assign::field(const char* name, double& value, const char*, Range range) {
  number(name, value, range, "a number");
}
void Assign::field(const char* name, std::vector<int64_t>& value, const char*) {
  list(name, value, "a list of whole numbers");
}
void Assign::field(const char* name, std::vector<double>& value, const char*) {
  list(name, value, "a list of numbers");
}
void Assign::field(const char* name, std::vector<std::string>& value, const char*) {
  list(name, value, "a list of texts");
}

void Assign::choice(const char* name, int& index, std::span<const char* const> names, const char*) {
  const Setting* setting = find(name);
  if (!setting) return;
  const auto* given = std::get_if<std::string>(&setting->value);
  std::string allowed;
  for (size_t i = 0; i < names.size(); ++i) {
    if (given && *given == names[i]) {
      index = int(i);
      return;
    }
    allowed += (allowed.empty() ? "" : ", ") + quote(names[i]);
  }
  problem(name, *setting,
          format("one of {}, not {}", allowed, given ? quote(*given) : kind_of(setting->value)));
}

void Assign::begin(const char* name, const char*) { prefix_ += std::string(name) + "."; }

void Assign::end() {
  prefix_.pop_back();
  const size_t dot = prefix_.rfind('.');
  prefix_.resize(dot == std::string::npos ? 0 : dot + 1);
}

}  // namespace limpid
