#include "tests/support/texts.h"

#include <zlib.h>
#include <zstd.h>

#include <array>
#include <fstream>

#include "core/error.h"
#include "core/random.h"

namespace limpid {
namespace {

constexpr std::array kSyllables = {"ka", "lo", "mi", "ten", "ra", "sho", "ve", "th", "ing", "er",
                                   "un", "al", "qu", "or",  "st", "e",   "a",  "on", "is",  "re"};
constexpr std::array kOddities = {" ",
                                  "  ",
                                  "    ",
                                  "\t",
                                  "\n",
                                  "\n\n",
                                  "\r\n",
                                  "'s",
                                  "(x)",
                                  "foo_bar();",
                                  "1984",
                                  "3.14",
                                  "\xc3\xa9",
                                  ", ",
                                  ".",
                                  "!?",
                                  "-",
                                  "--",
                                  "\xc3\xbc"
                                  "ber",
                                  "\xe4\xbd\xa0\xe5\xa5\xbd",
                                  "\xf0\x9f\x98\x80",
                                  "\xe2\x82\xac",
                                  "<s>",
                                  "\xe2\x96\x81",
                                  "e\xcc\x81",
                                  "\xc2\xa0",
                                  "\xef\xbc\xa1",
                                  "\xe2\x85\xab",
                                  "\x7f",
                                  "\x01",
                                  "\xf4\x8f\xbf\xbf",
                                  "&&",
                                  "}}",
                                  "\"quoted\"",
                                  "\xd0\x9c\xd0\xb8\xd1\x80"};

std::string word(const Random& random, uint64_t index) {
  const auto bits = random.words(index);
  std::string out;
  for (uint32_t i = 0; i <= bits[0] % 3; ++i)
    out += kSyllables[(bits[1] >> (8 * i)) * bits[2] % 7 % kSyllables.size() +
                      (bits[3] >> (8 * i)) % 14];
  return out;
}

}  // namespace

std::string random_text(uint64_t seed, size_t bytes) {
  const Random random(seed, "text"), odd(seed, "odd");
  std::string out;
  for (uint64_t i = 0; out.size() < bytes; ++i) {
    const auto choice = odd.words(i);
    if (choice[0] % 3 == 0)
      for (uint32_t n = 0; n <= choice[1] % 4; ++n)
        out += kOddities[odd.words(i + (uint64_t(n + 1) << 32))[2] % kOddities.size()];
    else
      out += word(random, i) + (choice[3] % 8 ? " " : "");
  }
  return out;
}

std::vector<std::string> training_lines(uint64_t seed, size_t lines) {
  std::vector<std::string> out(lines);
  for (size_t i = 0; i < lines; ++i) {
    const Random random(seed, "line", i);
    for (uint64_t n = 0; n < 12; ++n) {
      const auto bits = random.words(n + 100);
      out[i] += word(random, n) + (bits[0] % 16 == 0 ? "    " : " ");
      if (bits[1] % 10 == 0) out[i] += bits[2] % 2 ? "foo_bar(); " : "\xc3\xa9t\xc3\xa9, 42 ";
    }
  }
  return out;
}

void write_file(const Path& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), std::streamsize(bytes.size()));
  require(file.good(), "cannot write {}", path.string());
}

std::string gzip(const std::string& bytes) {
  z_stream stream = {};
  require(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK, "zlib");
  std::string out(deflateBound(&stream, uLong(bytes.size())), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = uInt(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = uInt(out.size());
  const int status = deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  require(status == Z_STREAM_END, "zlib");
  return out;
}

std::string zstd(const std::string& bytes) {
  std::string out(ZSTD_compressBound(bytes.size()), '\0');
  const size_t size = ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 3);
  require(!ZSTD_isError(size), "zstd");
  out.resize(size);
  return out;
}

}  // namespace limpid
