#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace limpid {

using Digest256 = std::array<uint8_t, 32>;
std::string to_hex(std::span<const uint8_t> bytes);

// SHA-256 (FIPS 180-4) of bytes given piece by piece.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  void update(const void* data, size_t bytes);
  Digest256 finish();  // once

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

Digest256 sha256(const void* data, size_t bytes);
std::string sha256_hex(std::string_view bytes);

// CRC-32C (Castagnoli, reflected 0x82F63B78, initial and final xor of ones). crc32c("123456789") =
// 0xE3069283.
uint32_t crc32c(std::string_view bytes);

}  // namespace limpid
