#pragma once

#include "model/count.h"
#include "model/model.h"

namespace limpid {

// A model with the memory of one micro-batch around it, for tests.
class TinyModel {
 public:
  TinyModel(const ModelConfig& config, int64_t batch, int64_t context,
            Recompute recompute = Recompute::none)
      : model(config, Device::cpu, true),
        need(memory_need(config, batch, context, recompute)),
        saved(Device::cpu, need.saved, "activations"),
        scratch(Device::cpu, need.scratch, "scratch"),
        ctx{.stream = stream,
            .saved = saved,
            .scratch = scratch,
            .dtype = config.float_type(),
            .recompute = recompute},
        losses_buffer_(Device::cpu, batch * context * 8, "losses"),
        losses(losses_buffer_.tensor(0, {batch, context}, accum_dtype(config.float_type()))) {}

  // Gradients of the mean loss; returns that loss.
  double forward_backward(Tensor tokens, Tensor targets) {
    model.params().zero_gradients(stream);
    const Arena::Scope scope(saved);
    Model::Saved kept;
    model.forward(ctx, tokens, kept);
    model.backward(ctx, losses, tokens, targets, float(1.0 / double(losses.numel())), kept);
    return mean_loss();
  }
  double evaluate(Tensor tokens, Tensor targets) {
    model.evaluate(ctx, losses, tokens, targets);
    return mean_loss();
  }
  Param& param(const std::string& name) {
    for (Param& param : model.params())
      if (param.name == name) return param;
    fail("no parameter {}", name);
  }

  Stream stream;
  Model model;
  MemoryNeed need;
  Arena saved, scratch;
  Ctx ctx;

 private:
  double mean_loss() const {
    double total = 0;
    with_dtype(losses.dtype, [&]<class T>() {
      for (int64_t i = 0; i < losses.numel(); ++i) total += double(losses.as<T>()[i]);
    });
    return total / double(losses.numel());
  }
  Buffer losses_buffer_;

 public:
  Tensor losses;
};

// Element i as f64.
inline double at(const Tensor& tensor, int64_t i) {
  return with_dtype(tensor.dtype, [&]<class T>() { return double(tensor.as<T>()[i]); });
}

}  // namespace limpid
