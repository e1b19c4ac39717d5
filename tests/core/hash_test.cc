#include "core/hash.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

namespace limpid {
namespace {

// FIPS 180-4's examples.
TEST(Sha256, KnownAnswers) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256_hex(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PiecesGiveTheHashOfTheWhole) {
  const std::string text(100000, 'x');
  Sha256 hash;
  for (size_t at = 0; at < text.size(); at += 777)
    hash.update(text.data() + at, std::min<size_t>(777, text.size() - at));
  EXPECT_EQ(to_hex(hash.finish()), sha256_hex(text));
}

// RFC 3720, B.4, and the catalogue's check value.
TEST(Crc32c, KnownAnswers) {
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
}

TEST(ToHex, TwoDigitsAByte) { EXPECT_EQ(to_hex(std::array<uint8_t, 3>{0, 0x1f, 0xff}), "001fff"); }

}  // namespace
}  // namespace limpid
