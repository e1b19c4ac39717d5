#pragma once

#include <vector>

#include "data/tokenizer.h"

namespace limpid {

// A SentencePiece model of a few hundred pieces, trained on made-up text; vocab() ids.
const Tokenizer& tiny_tokenizer();

// A shard of documents whose ids (below tiny_tokenizer's vocabulary) are given, without text.
void write_shard(const Path&, const std::vector<std::vector<int32_t>>& documents);
// A shard with that many random tokens in documents of 20 to 120 tokens.
void write_random_shard(const Path&, int64_t tokens, uint64_t seed);

}  // namespace limpid
