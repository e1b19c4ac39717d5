#pragma once

#include <string>
#include <string_view>

namespace limpid {

// What a SentencePiece model file says of how it treats text, which the library does not tell.
// Read from the file's protocol buffer (sentencepiece_model.proto), defaults as there.
struct SentencePieceSpec {
  enum Type { unigram = 1, bpe = 2, word = 3, character = 4 };
  int type = unigram;
  bool byte_fallback = false;
  bool whitespace_as_suffix = false;
  bool maps_characters = false;  // the normaliser changes characters (nmt_nfkc and such)
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
};

// Throws Error where the bytes are no protocol buffer.
SentencePieceSpec read_sentencepiece_spec(std::string_view model);

// The same model with another add_dummy_prefix: a field that comes twice counts as it last stands.
std::string with_dummy_prefix(std::string model, bool add_dummy_prefix);

}  // namespace limpid
