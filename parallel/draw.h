#pragma once

#include <string>

#include "parallel/timeline.h"

namespace limpid {

// A line a stage, time to the right: F forward, B backward or backward_input, W backward_weight,
// R recompute, each with its micro-batch and, where stages hold several chunks, the chunk as a
// letter; dots where the stage is idle, whose share ends the line. columns: the width of the time
// from begin to end; 0: so wide that every label fits.
std::string draw(const Timeline&, int columns = 0);

}  // namespace limpid
