#include "eval/sample.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/random.h"

namespace limpid {

int32_t sample(std::span<const float> logits, const Sampling& how, int64_t position) {
  const auto likeliest = std::max_element(logits.begin(), logits.end());
  if (how.greedy || how.temperature == 0) return int32_t(likeliest - logits.begin());

  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::stable_sort(ids.begin(), ids.end(),
                   [&](int32_t a, int32_t b) { return logits[size_t(a)] > logits[size_t(b)]; });
  if (how.top_k > 0) ids.resize(std::min(ids.size(), size_t(how.top_k)));
  std::vector<double> weights;
  for (int32_t id : ids)
    weights.push_back(std::exp((double(logits[size_t(id)]) - *likeliest) / how.temperature));
  double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  double kept = 0;
  size_t count = 0;
  while (count < weights.size() && (count == 0 || kept < how.top_p * total))
    kept += weights[count++];

  double at = Random(uint64_t(how.seed), "sample").uniform(uint64_t(position)) * kept;
  for (size_t i = 0; i + 1 < count; ++i) {
    if (at < weights[i]) return ids[i];
    at -= weights[i];
  }
  return ids[count - 1];
}

}  // namespace limpid
