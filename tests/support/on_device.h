#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <vector>

#include "core/memory.h"

namespace limpid {

// Tests of what runs alike on every device: tensors made from values of the host, and read back.
//   using SumTest = OnDevice;
//   INSTANTIATE_TEST_SUITE_P(, SumTest, testing::ValuesIn(kDevices), device_name);
class OnDevice : public testing::TestWithParam<Device> {
 public:
  bool gpu() const { return GetParam() == Device::cuda; }

  // Lies `shift` elements past an aligned address; lives as long as the test.
  template <class T>
  Tensor put(const std::vector<T>& values, DType dtype = dtype_of<T>, int64_t shift = 0) {
    const Shape shape = {int64_t(values.size())};
    buffers_.emplace_back(GetParam(), (shape[0] + shift) * int64_t(sizeof(T)) + 1, "test");
    const Tensor out = buffers_.back().tensor(shift * int64_t(sizeof(T)), shape, dtype);
    write(out, values);
    return out;
  }
  template <class T>
  void write(const Tensor& to, std::vector<T> values) {
    copy(stream, to, {values.data(), to.shape, to.dtype});
    synchronize(stream);
  }
  template <class T>
  std::vector<T> get(const Tensor& tensor) {
    Buffer staging;
    const Tensor host = on_host(stream, tensor, staging);
    const T* data = static_cast<const T*>(host.data);
    return std::vector<T>(data, data + host.numel());
  }

  Stream stream{GetParam()};

 private:
  std::deque<Buffer> buffers_;
};

inline constexpr Device kDevices[] = {Device::cpu, Device::cuda};
inline std::string device_name(const testing::TestParamInfo<Device>& info) {
  return to_string(info.param);
}

}  // namespace limpid
