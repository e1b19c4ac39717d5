#pragma once

#include <string>

#include "core/stream.h"

namespace limpid {

// On a GPU some ops can be done in several ways that sum in different orders: products by many
// algorithms, attention by cuDNN and by limpid. The way that is fastest when a shape is met first
// is kept for the stream. These are the ways chosen so far, as lines of text, and what makes another
// stream choose the same, and so compute the same bits, for shapes that it has not met yet. The
// choices of another kind of GPU are passed over, which is logged; so are, silently, those for
// another version of a library. On the CPU there is nothing to choose.
std::string kernel_choices(Stream&);
void set_kernel_choices(Stream&, const std::string&);

// The same on a GPU (core/cuda.h says why they are weak).
namespace cuda {
[[gnu::weak]] std::string kernel_choices(Stream&);
[[gnu::weak]] void set_kernel_choices(Stream&, const std::string&);
}  // namespace cuda

}  // namespace limpid
