#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

namespace limpid {

// What a user, a file or a machine can cause. The message says what, where and what to do next.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// One value to print in a message.
using Arg = std::variant<bool, int64_t, uint64_t, double, std::string_view, std::string>;

template <class T>
Arg to_arg(const T& value) {
  if constexpr (std::same_as<T, bool>) {
    return value;
  } else if constexpr (std::signed_integral<T>) {
    return int64_t(value);
  } else if constexpr (std::unsigned_integral<T>) {
    return uint64_t(value);
  } else if constexpr (std::floating_point<T>) {
    return double(value);
  } else if constexpr (std::convertible_to<const T&, std::string_view>) {
    return std::string_view(value);
  } else {
    return to_string(value);
  }
}

// Text with each {} (or {:.3f} ...) replaced by the next argument.
std::string format_args(std::string_view text, std::span<const Arg> args);

template <class... T>
std::string format(std::string_view text, const T&... values) {
  const std::initializer_list<Arg> args = {to_arg(values)...};
  return format_args(text, std::span(args.begin(), args.size()));
}

template <class... T>
[[noreturn]] void fail(std::string_view text, const T&... values) {
  throw Error(format(text, values...));
}

// Throws Error with the formatted message unless ok.
template <class... T>
void require(bool ok, std::string_view text, const T&... values) {
  if (!ok) [[unlikely]]
    fail(text, values...);
}

// ": No such file or directory", from errno, for the end of a message.
std::string errno_text();

}  // namespace limpid
