#pragma once

#include <algorithm>
#include <string_view>

#include "core/tensor.h"

namespace limpid {

// Throws Error unless tensor has the dtype and shape of other.
inline void require_like(const Tensor& tensor, const Tensor& other, std::string_view name,
                         std::string_view other_name) {
  require(tensor.dtype == other.dtype && tensor.shape == other.shape,
          "{} is {} {}, but {} is {} {}", name, tensor.dtype, tensor.shape, other_name, other.dtype,
          other.shape);
}

// Throws Error unless tensor has this dtype and count elements, in any shape.
inline void require_vector(const Tensor& tensor, DType dtype, int64_t count,
                           std::string_view name) {
  require(tensor.dtype == dtype && tensor.numel() == count, "{} is {} {}, need {} {}", name,
          tensor.dtype, tensor.shape, count, dtype);
}

// Throws Error unless ids are i32.
inline void require_ids(const Tensor& ids, std::string_view name) {
  require(ids.dtype == DType::i32, "{} are {}, need i32", name, ids.dtype);
}

// Throws Error unless ids are i32 in [lowest, count).
inline void require_ids(const Tensor& ids, int32_t lowest, int64_t count, std::string_view name) {
  require_ids(ids, name);
  const int32_t* id = ids.as<const int32_t>();
  int32_t least = lowest, most = lowest;
#pragma omp simd reduction(min : least) reduction(max : most)
  for (int64_t i = 0; i < ids.numel(); ++i) {
    least = std::min(least, id[i]);
    most = std::max(most, id[i]);
  }
  require(least >= lowest && most < count, "{} hold {}, outside [{}, {})", name,
          least < lowest ? least : most, lowest, count);
}

}  // namespace limpid
