#pragma once

#include <cstdint>
#include <random>
#include <string>

#include "core/hash.h"

namespace limpid {

// Bytes that no other process has drawn, in hex. For names alone, never for numbers of a run.
inline std::string make_nonce(int bytes) {
  std::random_device device;
  std::string raw;
  for (int i = 0; i < bytes; ++i) raw += char(device());
  return to_hex({reinterpret_cast<const uint8_t*>(raw.data()), raw.size()});
}

}  // namespace limpid
