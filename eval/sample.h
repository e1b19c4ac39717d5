#pragma once

#include <span>

#include "core/fields.h"

namespace limpid {

// How the next token is chosen from logits.
struct Sampling {
  bool greedy = false;
  double temperature = 1;
  int64_t top_k = 0;  // only the k likeliest; 0 means all
  double top_p = 1;   // only the likeliest that together have this probability (Holtzman et al.
                      // 2020, arXiv:1904.09751)
  int64_t seed = 1;
};

// The token after `position` tokens; a pure function of its arguments. Ties go to the smaller id.
int32_t sample(std::span<const float> logits, const Sampling&, int64_t position);

}  // namespace limpid
