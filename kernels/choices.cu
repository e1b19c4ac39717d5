#include <sstream>

#include "core/cuda.h"
#include "core/log.h"
#include "kernels/choices.h"
#include "kernels/cuda/choices.h"

namespace limpid::cuda {

std::string kernel_choices(Stream& stream) {
  std::string out = describe_device() + "\n";
  for (const auto& [name, value] : stream.queue().part<Choices>().all())
    out += name + " = " + value + "\n";
  return out;
}

void set_kernel_choices(Stream& stream, const std::string& text) {
  std::istringstream lines(text);
  std::string line;
  if (!std::getline(lines, line)) return;
  if (const std::string device = describe_device(); line != device)
    return log("kernels were chosen for {}, this is {}: they are chosen anew", line, device);
  while (std::getline(lines, line))
    if (const size_t at = line.find(" = "); at != std::string::npos)
      stream.queue().part<Choices>().set(line.substr(0, at), line.substr(at + 3));
}

}  // namespace limpid::cuda
