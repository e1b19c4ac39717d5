#pragma once

#include <cstdint>

#include "core/stream.h"

namespace limpid::cuda {

// Elements of scratch memory that sort_indices() needs for n keys.
int64_t sort_scratch(int64_t n);
// order[i] = the index of the i-th of n keys in [0, limit), the lowest first and equal ones as they
// stand: a radix sort by bytes, the lowest byte first.
void sort_indices(Stream&, int32_t* order, const int32_t* keys, int64_t n, int64_t limit,
                  int32_t* scratch);

}  // namespace limpid::cuda
