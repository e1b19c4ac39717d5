#pragma once

#include <algorithm>
#include <array>

#include "core/error.h"
#include "core/random.h"

namespace limpid {

// Which elements dropout keeps (Srivastava et al. 2014): element i where word i of the random
// sequence is at least p * 2^32. A pure function of the sequence and i, whatever is asked together.
class DropoutMask {
 public:
  // Throws Error unless 0 <= p < 1.
  DropoutMask(const Random& random, float p) : random_(random), p_(p) {
    require(p >= 0 && p < 1, "a dropout of {} is not in [0, 1)", p);
    threshold_ = uint32_t(double(p) * 0x1p32);
  }

  constexpr bool keeps(uint64_t element) const { return keeps_four(element / 4)[element % 4]; }
  // The same for elements 4 * group ... 4 * group + 3, which share a draw.
  constexpr std::array<bool, 4> keeps_four(uint64_t group) const {
    const auto words = random_.words(group);
    return {words[0] >= threshold_, words[1] >= threshold_, words[2] >= threshold_,
            words[3] >= threshold_};
  }
  // What kept elements are multiplied by.
  template <class A = float>
  constexpr A factor() const {
    return 1 / (1 - A(p_));
  }
  // out[j] = what element first + j is multiplied by: 0, or factor() where it is kept.
  template <class A>
  void factors(uint64_t first, int64_t count, A* out) const {
    const uint32_t threshold = threshold_;
    const A kept = factor<A>();
    uint32_t words[4 * kGroups];
    for (uint64_t at = first, end = first + uint64_t(count); at < end;) {
      const uint64_t group = at / 4;
      const int groups = int(std::min<uint64_t>(kGroups, (end + 3) / 4 - group));
      fill(words, group, groups);
      const uint64_t stop = std::min(end, 4 * (group + uint64_t(groups)));
      const uint32_t* from = words + at % 4;
      const int64_t n = int64_t(stop - at);
#pragma omp simd
      for (int64_t j = 0; j < n; ++j) out[j] = from[j] >= threshold ? kept : 0;
      out += n;
      at = stop;
    }
  }

 private:
  static constexpr int kGroups = 64;  // of four words each

  // Words of `groups` groups from `group` on: philox() for all of them at once, round by round.
  void fill(uint32_t* words, uint64_t group, int groups) const {
    uint32_t c0[kGroups], c1[kGroups], c2[kGroups], c3[kGroups];
    for (int g = 0; g < groups; ++g) {
      c0[g] = uint32_t(group + uint64_t(g)), c1[g] = uint32_t((group + uint64_t(g)) >> 32);
      c2[g] = uint32_t(random_.step()), c3[g] = uint32_t(random_.step() >> 32);
    }
    uint32_t k0 = uint32_t(random_.key()), k1 = uint32_t(random_.key() >> 32);
    for (int round = 0; round < 10; ++round, k0 += 0x9e3779b9u, k1 += 0xbb67ae85u) {
#pragma omp simd
      for (int g = 0; g < groups; ++g) {
        const uint64_t a = uint64_t(0xd2511f53u) * c0[g];
        const uint64_t b = uint64_t(0xcd9e8d57u) * c2[g];
        c0[g] = uint32_t(b >> 32) ^ c1[g] ^ k0, c1[g] = uint32_t(b);
        c2[g] = uint32_t(a >> 32) ^ c3[g] ^ k1, c3[g] = uint32_t(a);
      }
    }
    for (int g = 0; g < groups; ++g) {
      words[4 * g] = c0[g], words[4 * g + 1] = c1[g];
      words[4 * g + 2] = c2[g], words[4 * g + 3] = c3[g];
    }
  }

  Random random_;
  float p_;
  uint32_t threshold_;
};

}  // namespace limpid
