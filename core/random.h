#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string_view>

namespace limpid {

// Spreads the bits of x (the finaliser of SplitMix64; Steele, Lea & Flood 2014).
constexpr uint64_t mix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// Four random words, a pure function of key and counter: Philox4x32-10 (Salmon, Moraes, Dror & Shaw
// 2011, "Parallel random numbers: as easy as 1, 2, 3").
constexpr std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, uint64_t key) {
  uint32_t k0 = uint32_t(key), k1 = uint32_t(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t(0xd2511f53u) * counter[0];
    const uint64_t b = uint64_t(0xcd9e8d57u) * counter[2];
    counter = {uint32_t(b >> 32) ^ counter[1] ^ k0, uint32_t(b),
               uint32_t(a >> 32) ^ counter[3] ^ k1, uint32_t(a)};
    k0 += 0x9e3779b9u;
    k1 += 0xbb67ae85u;
  }
  return counter;
}

// Random numbers as f(seed, name, step, index): never of rank, thread or call order.
class Random {
 public:
  constexpr Random(uint64_t seed, std::string_view name, uint64_t step = 0) : step_(step) {
    uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a
    for (char c : name) hash = (hash ^ uint8_t(c)) * 0x100000001b3u;
    key_ = mix64(hash ^ mix64(seed));
  }

  // Words 4 * index ... 4 * index + 3 of the sequence.
  constexpr std::array<uint32_t, 4> words(uint64_t index) const {
    return philox({uint32_t(index), uint32_t(index >> 32), uint32_t(step_), uint32_t(step_ >> 32)},
                  key_);
  }
  // Uniform in [0, 1).
  double uniform(uint64_t index) const { return to_unit(words(index)[0], words(index)[1]); }
  // Standard normals 2 * pair and 2 * pair + 1 of the sequence, by Box and Muller (1958).
  std::array<double, 2> normal_pair(uint64_t pair) const {
    const auto w = words(pair);
    const double radius = std::sqrt(-2 * std::log(1 - to_unit(w[0], w[1])));
    const double angle = 2 * std::numbers::pi * to_unit(w[2], w[3]);
    return {radius * std::cos(angle), radius * std::sin(angle)};
  }
  double normal(uint64_t index) const { return normal_pair(index / 2)[index % 2]; }
  constexpr uint64_t key() const { return key_; }
  constexpr uint64_t step() const { return step_; }

 private:
  static constexpr double to_unit(uint32_t high, uint32_t low) {
    return double((uint64_t(high) << 21) ^ (low >> 11)) * 0x1p-53;
  }
  uint64_t key_ = 0;
  uint64_t step_ = 0;
};

}  // namespace limpid
