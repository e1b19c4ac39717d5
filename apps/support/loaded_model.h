#pragma once

#include <memory>

#include "checkpoint/load.h"
#include "data/tokenizer.h"
#include "model/model.h"

namespace limpid {

// A model as a checkpoint holds it, ready to score and to write text.
struct LoadedModel {
  int64_t step = 0;
  Path folder;
  std::unique_ptr<Model> model;
  Tokenizer tokenizer;
};

// From a checkpoint's folder, or the newest undamaged one of a run's. Throws Error saying what is
// wrong with it.
LoadedModel load_model(const Path& checkpoint_or_run);

}  // namespace limpid
