#pragma once

#include "model/count.h"
#include "model/model.h"

namespace limpid {

// A model with the memory of one micro-batch around it, for tests.
class TinyModel {
 public:
  TinyModel(const ModelConfig& config, int64_t batch, int64_t context,
            Recompute recompute = Recompute::none, Device device = Device::cpu)
      : stream(device),
        model(config, device, true),
        need(memory_need(config, batch, context, recompute)),
        saved(device, need.saved, "activations"),
        scratch(device, need.scratch, "scratch"),
        ctx{.stream = stream,
            .saved = saved,
            .scratch = scratch,
            .dtype = config.float_type(),
            .recompute = recompute},
        ids_(device, 2 * batch * context * 4, "ids"),
        losses_buffer_(device, batch * context * 8, "losses"),
        losses(losses_buffer_.tensor(0, {batch, context}, accum_dtype(config.float_type()))) {}

  // Gradients of the mean loss; returns that loss.
  double forward_backward(Tensor tokens, Tensor targets) {
    model.params().zero_gradients(stream);
    const Arena::Scope scope(saved);
    Model::Saved kept;
    tokens = on_device(tokens, 0), targets = on_device(targets, 1);
    model.forward(ctx, tokens, kept);
    model.backward(ctx, losses, tokens, targets, float(1.0 / double(losses.numel())), kept);
    return mean_loss();
  }
  double evaluate(Tensor tokens, Tensor targets) {
    model.evaluate(ctx, losses, on_device(tokens, 0), on_device(targets, 1));
    return mean_loss();
  }
  // Where the model's device reads them: ids of the host, at the first or the second place.
  Tensor on_device(Tensor ids, int64_t place) {
    const Tensor to = ids_.tensor(place * ids_.bytes() / 2, ids.shape, ids.dtype);
    copy(stream, to, ids);
    return to;
  }
  // Values of a tensor of the model's device, until the next call.
  Tensor host(const Tensor& tensor) { return on_host(stream, tensor, host_); }
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
  double mean_loss() {
    double total = 0;
    const Tensor values = host(losses);
    with_dtype(values.dtype, [&]<class T>() {
      for (int64_t i = 0; i < values.numel(); ++i) total += double(values.as<T>()[i]);
    });
    return total / double(losses.numel());
  }
  Buffer ids_, losses_buffer_, host_;

 public:
  Tensor losses;
};

// Element i as f64.
inline double at(const Tensor& tensor, int64_t i) {
  return with_dtype(tensor.dtype, [&]<class T>() { return double(tensor.as<T>()[i]); });
}

}  // namespace limpid
