#include "recipes/session.h"

namespace limpid {

Session::Session(const Recipe& told)
    : recipe(told),
      stream(recipe.resolve_device()),
      batches(recipe.data, recipe.model.context, recipe.model.vocab),
      model(recipe.model, stream.device, true),
      optimizer(
          make_optimizer(recipe.optimizer, model.params(), stream.device, uint64_t(recipe.seed))),
      trainer(stream, {recipe.train, recipe.schedule, recipe.optimizer, recipe.seed, model,
                       *optimizer, batches}) {}

}  // namespace limpid
