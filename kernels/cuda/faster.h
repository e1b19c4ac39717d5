#pragma once

#include <functional>
#include <string>

#include "core/stream.h"

// For the CUDA backend's own sources only.
namespace limpid::cuda {

// Runs library() or own(), which do the same and may do it again: the one that was faster when
// `name`, an op with its shape, was met first. own() where library() returns false, which says that
// it has done nothing, and in a captured step that did not run before. Weak: without the libraries
// there is own() only.
[[gnu::weak]] void run_faster(Stream&, const std::string& name,
                              const std::function<bool()>& library,
                              const std::function<void()>& own);

}  // namespace limpid::cuda
