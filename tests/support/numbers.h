#pragma once

#include <vector>

#include "core/memory.h"

namespace limpid {

// Numbers on a device, for tests that call ops without check_op().
template <class T>
class Numbers {
 public:
  Numbers(Stream& stream, std::vector<T> values, Shape shape)
      : stream_(stream),
        memory_(stream.device, int64_t(values.size() * sizeof(T)), "test"),
        tensor_(memory_.tensor(0, shape, dtype_of<T>)) {
    copy(stream_, tensor_, {values.data(), shape, dtype_of<T>});
    synchronize(stream_);
  }
  Numbers(Stream& stream, std::vector<T> values)
      : Numbers(stream, values, {int64_t(values.size())}) {}

  operator Tensor() const { return tensor_; }
  std::vector<T> values() const {
    std::vector<T> out(size_t(tensor_.numel()));
    copy(stream_, {out.data(), tensor_.shape, tensor_.dtype}, tensor_);
    synchronize(stream_);
    return out;
  }

 private:
  Stream& stream_;
  Buffer memory_;
  Tensor tensor_;
};

}  // namespace limpid
