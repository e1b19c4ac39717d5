#pragma once

#include "tests/reference/array.h"

namespace limpid::reference {

// tokens: (B,T)   w: (V,C)   positions: (Tmax,C), or null   y: (B,T,C)
template <class S>
Array<S> embedding(const Array<S>& tokens, const Array<S>& w, const Array<S>* positions,
                   int64_t first_position) {
  const int64_t B = tokens.shape[0], T = tokens.shape[1], C = w.cols();
  Array<S> y({B, T, C});
  for (int64_t b = 0; b < B; ++b)
    for (int64_t t = 0; t < T; ++t)
      for (int64_t c = 0; c < C; ++c) {
        y(b, t, c) = w(whole(tokens(b, t)), c);
        if (positions) y(b, t, c) += (*positions)(first_position + t, c);
      }
  return y;
}

}  // namespace limpid::reference
