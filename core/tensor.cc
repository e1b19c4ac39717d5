#include "core/tensor.h"

namespace limpid {

std::string to_string(const Shape& shape) {
  std::string out = "(";
  for (int i = 0; i < shape.rank(); ++i) {
    if (i) out += ", ";
    out += std::to_string(shape[i]);
  }
  return out + ")";
}

void require_tensor(const Tensor& tensor, DType dtype, const Shape& shape, std::string_view name) {
  require(tensor.dtype == dtype && tensor.shape == shape, "{} is {} {}, need {} {}", name,
          tensor.dtype, tensor.shape, dtype, shape);
}

}  // namespace limpid
