#pragma once

#include <string>

#include "core/file.h"
#include "data/tokenizer.h"
#include "data/tokenizer_training.h"

namespace limpid {

// Made-up text of about so many bytes: words of a small language, runs of blanks, tabs, line ends,
// digits, code, accents, Chinese, emoji, and characters that no tokenizer has seen.
std::string random_text(uint64_t seed, size_t bytes);
// The same with fewer oddities, to train on; without line ends.
std::vector<std::string> training_lines(uint64_t seed, size_t lines);

// Writes a file as it is.
void write_file(const Path& path, const std::string& bytes);
std::string gzip(const std::string& bytes);
std::string zstd(const std::string& bytes);

}  // namespace limpid
