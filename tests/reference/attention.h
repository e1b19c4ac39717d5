#pragma once

#include "tests/reference/array.h"

namespace limpid::reference {

struct Heads {
  int64_t queries, keys;
  double scale;
};

// qkv: (B,T,H+2K,D) packed q|k|v   start: (B,T), the first column that a row sees   o: (B,T,H,D)
// factor(b, h, row, column): what dropout multiplies a probability by.
template <class S, class Factor>
Array<S> attention(const Array<S>& qkv, const Array<S>& start, const Heads& heads,
                   const Factor& factor) {
  const int64_t B = qkv.shape[0], T = qkv.shape[1], H = heads.queries, K = heads.keys;
  const int64_t D = qkv.shape[3];
  Array<S> o({B, T, H, D});
  for (int64_t b = 0; b < B; ++b)
    for (int64_t h = 0; h < H; ++h)
      for (int64_t t = 0; t < T; ++t) {
        const int64_t first = whole(start(b, t)), k = H + h / (H / K), v = k + K;
        std::vector<S> scores;
        for (int64_t u = first; u <= t; ++u) {
          S dot = 0;
          for (int64_t d = 0; d < D; ++d) dot += qkv(b, t, h, d) * qkv(b, u, k, d);
          scores.push_back(heads.scale * dot);
        }
        double max = std::real(scores[0]);
        for (const S& score : scores) max = std::max(max, std::real(score));
        S sum = 0;
        for (S& score : scores) sum += score = std::exp(score - max);
        for (int64_t u = first; u <= t; ++u)
          for (int64_t d = 0; d < D; ++d)
            o(b, t, h, d) += scores[size_t(u - first)] / sum * factor(b, h, t, u) * qkv(b, u, v, d);
      }
  return o;
}

}  // namespace limpid::reference
