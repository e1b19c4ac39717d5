#pragma once

#include <memory>

#include "recipes/recipe.h"

namespace limpid {

// All that trains by a recipe, on the device that it names: data, model, optimizer, trainer. The
// parameters are zero until a Run or a checkpoint fills them.
struct Session {
  explicit Session(const Recipe&);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Recipe recipe;
  Stream stream;
  Batches batches;
  Model model;
  std::unique_ptr<Optimizer> optimizer;
  Trainer trainer;
};

}  // namespace limpid
