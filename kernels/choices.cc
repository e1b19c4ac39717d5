#include "kernels/choices.h"

namespace limpid {

std::string kernel_choices(Stream& stream) {
  return stream.device == Device::cuda ? cuda::kernel_choices(stream) : "";
}

void set_kernel_choices(Stream& stream, const std::string& text) {
  if (stream.device == Device::cuda) cuda::set_kernel_choices(stream, text);
}

}  // namespace limpid
