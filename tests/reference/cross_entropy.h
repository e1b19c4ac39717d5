#pragma once

#include "tests/reference/array.h"

namespace limpid::reference {

// logits: (R,V)   targets: (R), -1 for none   loss: (R) in nats
template <class S>
Array<S> cross_entropy(const Array<S>& logits, const Array<S>& targets) {
  Array<S> loss({logits.rows()});
  for (int64_t r = 0; r < logits.rows(); ++r) {
    const int64_t target = whole(targets[r]);
    if (target < 0) continue;
    double max = std::real(logits(r, 0));
    for (int64_t v = 1; v < logits.cols(); ++v) max = std::max(max, std::real(logits(r, v)));
    S sum = 0;
    for (int64_t v = 0; v < logits.cols(); ++v) sum += std::exp(logits(r, v) - max);
    loss[r] = std::log(sum) + max - logits(r, target);
  }
  return loss;
}

}  // namespace limpid::reference
