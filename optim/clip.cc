#include "optim/clip.h"

#include <algorithm>
#include <cmath>

#include "kernels/reduce.h"

namespace limpid {

GradientNorm::GradientNorm(Params& params, Device device)
    : params_(params),
      buffer_(device, aligned(int64_t(params.size()) * 8) + kAlignment, "gradient norms") {
  squares_ = buffer_.tensor(0, {int64_t(params.size())}, DType::f64);
  factor_ = buffer_.tensor(aligned(squares_.bytes()), {1}, params.begin()->grad.dtype);
}

double GradientNorm::clip(Stream& stream, double limit) {
  int64_t i = 0;
  for (const Param& param : params_) {
    sum_squares(stream, squares_.slice(i, i + 1), param.grad);
    ++i;
  }
  double total = 0;
  for (int64_t k = 0; k < i; ++k) total += squares_.as<double>()[k];
  const double norm = std::sqrt(total);
  const double factor = limit > 0 ? std::min(1.0, limit / (norm + 1e-6)) : 1.0;
  with_dtype(factor_.dtype, [&]<class T>() { *factor_.as<T>() = T(factor); });
  return norm;
}

}  // namespace limpid
