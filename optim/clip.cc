#include "optim/clip.h"

#include "kernels/reduce.h"

namespace limpid {

GradientNorm::GradientNorm(Params& params, Device device) {
  for (const Param& param : params) gradients_.push_back(param.grad);
  const int64_t count = int64_t(gradients_.size()), bytes = aligned(count * 8);
  buffer_ = Buffer(device, bytes + 2 * kAlignment, "gradient norms");
  squares_ = buffer_.tensor(0, {count}, DType::f64);
  norm_ = buffer_.tensor(bytes, {1}, DType::f64);
  factor_ = buffer_.tensor(bytes + kAlignment, {1}, gradients_.front().dtype);
}

void GradientNorm::clip(Stream& stream, Tensor loss, double limit) {
  sum_squares(stream, squares_, gradients_);
  clip_factor(stream, factor_, norm_, squares_, loss, limit);
}

}  // namespace limpid
