#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace limpid {

// One character of UTF-8 and its bytes. A byte that begins none counts as U+FFFD.
struct Character {
  char32_t code = 0xfffd;
  size_t bytes = 1;
};

// The character at the beginning of text, which is not empty. Only what the bytes' lengths say is
// checked: texts from outside pass is_utf8() first.
inline Character first_character(std::string_view text) {
  const auto byte = [&](size_t i) { return uint8_t(text[i]); };
  if (byte(0) < 0x80) return {byte(0), 1};
  const size_t bytes = byte(0) >= 0xf0 ? 4 : byte(0) >= 0xe0 ? 3 : byte(0) >= 0xc0 ? 2 : 0;
  if (bytes == 0 || bytes > text.size()) return {};
  char32_t code = byte(0) & (0xffu >> (bytes + 1));
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3fu);
  }
  return {code, bytes};
}

bool is_utf8(std::string_view text);

// How many bytes at the end of text are the beginning of a character that is not whole: 0 to 3.
inline size_t cut_character(std::string_view text) {
  for (size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const uint8_t byte = uint8_t(text[text.size() - back]);
    if ((byte & 0xc0) == 0x80) continue;
    const size_t need = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return need > back ? back : 0;
  }
  return 0;
}

}  // namespace limpid
