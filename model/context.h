#pragma once

#include "core/memory.h"
#include "model/config.h"

namespace limpid {

// What the layers share while one micro-batch runs.
struct Ctx {
  Stream& stream;
  Arena& saved;    // what backward needs, until the micro-batch is done
  Arena& scratch;  // what a block needs while it runs
  DType dtype = DType::f32;
  Recompute recompute = Recompute::none;
  // Dropout is on where training is; its masks are functions of these and of positions, never of
  // the micro-batch.
  bool training = false;
  uint64_t seed = 0;
  int64_t step = 0;
  int64_t first_sample = 0;    // of the micro-batch, in the order of the run
  Tensor document_start = {};  // (B,T) i32, where attention may not look across documents; or empty

  Tensor save(Shape shape, const char* label) { return saved.alloc(shape, dtype, label); }
  Tensor temp(Shape shape, const char* label) { return scratch.alloc(shape, dtype, label); }
  // Cheap to make again from what is saved: kept until the block ends, or until backward, as
  // recompute says.
  Tensor cheap(Shape shape, const char* label) {
    return recompute == Recompute::selective ? temp(shape, label) : save(shape, label);
  }
  // In the accumulator's dtype: statistics of rows.
  Tensor save_statistics(Shape shape, const char* label) {
    return saved.alloc(shape, accum_dtype(dtype), label);
  }
  // Activations of the same dims with another number of channels.
  static Shape with_channels(Shape shape, int64_t channels) {
    shape[-1] = channels;
    return shape;
  }
};

}  // namespace limpid
