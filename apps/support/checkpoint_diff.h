#pragma once

#include "core/file.h"

namespace limpid {

// Prints, tensor by tensor, how two checkpoints differ: those that are in one of them only, of
// another shape, or with other bits. Every byte that is compared is checked first.
void print_difference(const Path& first, const Path& second);

}  // namespace limpid
