#include "parallel/param.h"

#include <vector>

namespace limpid {

Param& Params::add(std::string name, Shape shape, Init init, bool follows) {
  return params_.emplace_back(Param{std::move(name), shape, init, follows, {}, {}});
}

// A parameter that follows another starts on its very next byte; all others start on a cache line.
void Params::allocate(Device device, DType dtype, bool with_gradients) {
  const auto place = [&](DType type, const char* label, Tensor Param::*member) {
    std::vector<int64_t> offsets;
    int64_t end = 0;
    for (const Param& param : params_) {
      offsets.push_back(param.follows ? end : aligned(end));
      end = offsets.back() + param.shape.numel() * size_of(type);
    }
    Buffer buffer(device, aligned(end), label);
    for (size_t i = 0; i < params_.size(); ++i)
      params_[i].*member = buffer.tensor(offsets[i], params_[i].shape, type);
    return buffer;
  };
  values_ = place(dtype, "parameters", &Param::value);
  if (with_gradients) gradients_ = place(accum_dtype(dtype), "gradients", &Param::grad);
}

void Params::initialise(Stream& stream, uint64_t seed) {
  constexpr std::array<double, 2> kZeros = {0, 0};
  Buffer staging;
  for (const Param& param : params_) {
    const Random random(seed, "init." + param.name);
    const int64_t count = param.shape.numel();
    const Tensor host = host_twin(stream, param.value, staging);
    with_dtype(host.dtype, [&]<class T>() {
      T* const value = host.as<T>();
#pragma omp parallel for schedule(static)
      for (int64_t i = 0; i < count; i += 2) {
        const Init& init = param.init;
        const auto [even, odd] = init.deviation > 0 ? random.normal_pair(uint64_t(i / 2)) : kZeros;
        value[i] = T(init.constant + init.deviation * even);
        if (i + 1 < count) value[i + 1] = T(init.constant + init.deviation * odd);
      }
    });
    copy(stream, param.value, host);
    synchronize(stream);
  }
}

void Params::zero_gradients(Stream& stream) {
  zero(stream, gradients_.tensor(0, {gradients_.bytes()}, DType::u8));
}

int64_t Params::count() const {
  int64_t n = 0;
  for (const Param& param : params_) n += param.shape.numel();
  return n;
}

}  // namespace limpid
