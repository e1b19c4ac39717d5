#pragma once

#include <string>

namespace limpid {

enum class Device { cpu, cuda };

inline std::string to_string(Device device) { return device == Device::cpu ? "cpu" : "cuda"; }

}  // namespace limpid
