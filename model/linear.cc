#include "model/linear.h"

#include "kernels/matmul.h"

namespace limpid {

Linear::Linear(Params& params, const std::string& prefix, int64_t in, std::vector<Part> parts,
               bool bias, Init init)
    : in_(in) {
  const auto declare = [&](const char* kind, auto shape_of, Init start) {
    std::vector<Param*> declared;
    for (const Part& part : parts) {
      const std::string name = prefix + (*part.name ? "." : "") + part.name + "." + kind;
      declared.push_back(&params.add(name, shape_of(part.out), start, !declared.empty()));
    }
    return declared;
  };
  for (const Part& part : parts) out_ += part.out;
  weights_ = declare(
      "weight",
      [&](int64_t out) {
        return Shape{out, in};
      },
      init);
  if (bias)
    biases_ = declare(
        "bias", [](int64_t out) { return Shape{out}; }, Init{});
}

// The parts as one tensor: they follow each other in memory.
Tensor Linear::whole(const std::vector<Param*>& parts, Tensor Param::*member) const {
  if (parts.empty()) return {};
  Tensor out = parts.front()->*member;
  out.shape[0] = out_;
  return out;
}

void Linear::forward(Ctx& ctx, Tensor y, Tensor x) const {
  matmul(ctx.stream, y, x, whole(weights_, &Param::value),
         {.transpose_b = true, .bias = whole(biases_, &Param::value)});
}

void Linear::backward_input(Ctx& ctx, Tensor dx, Tensor dy) const {
  matmul(ctx.stream, dx, dy, whole(weights_, &Param::value));
}

void Linear::backward_weight(Ctx& ctx, Tensor dy, Tensor x) {
  matmul(ctx.stream, whole(weights_, &Param::grad), dy, x,
         {.transpose_a = true, .accumulate = true});
  if (!biases_.empty()) bias_backward(ctx.stream, whole(biases_, &Param::grad), dy);
}

}  // namespace limpid
