#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "data/utf8.h"

namespace limpid {

// Which two characters stand side by side in some piece of a vocabulary: one bit a pair, exact for
// ASCII. Other pairs share bits by a hash, so has() may say yes for one that is in no piece, never
// no for one that is. SentencePiece's mark for a blank, U+2581, counts as the blank.
class Pairs {
 public:
  void add(std::string_view piece) {
    for (char32_t previous = 0; !piece.empty();) {
      const auto [code, bytes] = first_character(piece);
      if (previous) bits_[place(previous, code) / 64] |= uint64_t(1) << place(previous, code) % 64;
      previous = code;
      piece.remove_prefix(bytes);
    }
  }
  bool has(char32_t left, char32_t right) const {
    const uint32_t at = place(left, right);
    return bits_[at / 64] >> at % 64 & 1;
  }

 private:
  static constexpr uint32_t kAscii = 128, kHashBits = 20;
  static constexpr char32_t kBlankMark = 0x2581;

  static uint32_t place(char32_t left, char32_t right) {
    if (left == kBlankMark) left = ' ';
    if (right == kBlankMark) right = ' ';
    if (left < kAscii && right < kAscii) return left * kAscii + right;
    const uint32_t hash = (uint32_t(left) * 0x9e3779b1u ^ uint32_t(right)) * 0x85ebca6bu;
    return kAscii * kAscii + (hash >> (32 - kHashBits));
  }
  std::vector<uint64_t> bits_ =
      std::vector<uint64_t>((kAscii * kAscii + (size_t(1) << kHashBits)) / 64);
};

}  // namespace limpid
