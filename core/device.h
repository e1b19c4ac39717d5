#pragma once

#include <string>

namespace limpid {

enum class Device { cpu, cuda };

// Whether this build holds the CUDA backend. Calls into cuda:: stand behind `if constexpr (kCuda)`.
#if LIMPID_CUDA
inline constexpr bool kCuda = true;
#else
inline constexpr bool kCuda = false;
#endif

inline std::string to_string(Device device) { return device == Device::cpu ? "cpu" : "cuda"; }

}  // namespace limpid
