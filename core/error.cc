#include "core/error.h"

#include <fmt/args.h>
#include <fmt/format.h>

#include <cerrno>
#include <cstring>

namespace limpid {

std::string format_args(std::string_view text, std::span<const Arg> args) {
  fmt::dynamic_format_arg_store<fmt::format_context> store;
  for (const Arg& arg : args) std::visit([&](const auto& value) { store.push_back(value); }, arg);
  return fmt::vformat(fmt::string_view(text.data(), text.size()), store);
}

std::string errno_text() { return std::string(": ") + std::strerror(errno); }

}  // namespace limpid
