#pragma once

#include "model/context.h"

namespace limpid {

// y = dropout(x), by the mask that belongs to this place in the model, step and samples; x
// unchanged where there is none. Returns y, or x. x: (B,T,C). y may be x.
Tensor drop(Ctx&, Tensor y, Tensor x, double p, const std::string& place);
// The gradient before that dropout, in scratch; dy itself where there is none.
Tensor drop_gradient(Ctx&, Tensor dy, double p, const std::string& place);

}  // namespace limpid
