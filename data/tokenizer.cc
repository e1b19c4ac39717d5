#include "data/tokenizer.h"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <array>
#include <bit>

#include "core/error.h"
#include "core/hash.h"
#include "core/random.h"
#include "data/pairs.h"
#include "data/sentencepiece_spec.h"
#include "data/utf8.h"

namespace limpid {
namespace {

using sentencepiece::SentencePieceProcessor;

void load_model(SentencePieceProcessor& processor, const std::string& bytes) {
  const auto status = processor.LoadFromSerializedProto(bytes);
  require(status.ok(), "not a SentencePiece model: {}", status.ToString());
}

std::vector<int> whole_ids(const SentencePieceProcessor& processor, std::string_view text) {
  std::vector<int> ids;
  const auto status = processor.Encode(text, &ids);
  require(status.ok(), "SentencePiece cannot encode: {}", status.ToString());
  return ids;
}

bool is_text(const SentencePieceProcessor& processor, int id) {
  return !processor.IsControl(id) && !processor.IsUnknown(id) && !processor.IsByte(id);
}

}  // namespace

// A text is cut between two characters that no piece holds side by side: BPE (Sennrich, Haddow &
// Birch 2016) never joins them, so both sides get the ids that they have in the whole.
struct Tokenizer::Model {
  explicit Model(std::string model) : bytes(std::move(model)), hash(sha256_hex(bytes)) {
    spec = read_sentencepiece_spec(bytes);
    load_model(whole, bytes);
    load_model(rest, with_dummy_prefix(bytes, spec.remove_extra_whitespaces));
    vocab_size = whole.GetPieceSize();
    bos = whole.bos_id(), eos = whole.eos_id(), unknown = whole.unk_id();
    for (int id = 0; id < whole.GetPieceSize(); ++id)
      if (is_text(whole, id)) pairs.add(whole.IdToPiece(id));
    cuts_words = spec.type == SentencePieceSpec::bpe && !spec.maps_characters &&
                 !spec.remove_extra_whitespaces && spec.escape_whitespaces &&
                 !spec.whitespace_as_suffix;
  }

  std::string bytes, hash;
  SentencePieceSpec spec;
  SentencePieceProcessor whole;  // the model as it is
  SentencePieceProcessor rest;   // for what begins within a text, at a blank or within a line
  Pairs pairs;
  int vocab_size = 0;
  int bos = -1, eos = -1, unknown = -1;
  bool cuts_words = false;
};

Tokenizer::Tokenizer(std::shared_ptr<const Model> model) : model_(std::move(model)) {}

Tokenizer Tokenizer::load(const Path& path) {
  try {
    return from_bytes(read_text(path));
  } catch (const Error& error) {
    fail("{}: {}", path.string(), error.what());
  }
}

Tokenizer Tokenizer::from_bytes(std::string model) {
  return Tokenizer(std::make_shared<const Model>(std::move(model)));
}

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
  Encoder encoder(*this);
  std::vector<int32_t> out;
  for (bool first = true; !text.empty(); first = false) {
    const std::string_view part = text.substr(0, encoder.cut(text));
    encoder.encode(part, first, out);
    text.remove_prefix(part.size());
  }
  return out;
}

std::string Tokenizer::decode(std::span<const int32_t> ids) const {
  std::vector<int> kept;
  for (int32_t id : ids) {
    require(id >= 0 && id < vocab_size(), "the id {} is not among the tokenizer's {}", id,
            vocab_size());
    if (!model_->whole.IsControl(id)) kept.push_back(id);
  }
  std::string text;
  const auto status = model_->whole.Decode(kept, &text);
  require(status.ok(), "SentencePiece cannot decode: {}", status.ToString());
  return text;
}

int64_t Tokenizer::vocab_size() const { return model_->vocab_size; }
int64_t Tokenizer::bos() const { return model_->bos; }
int64_t Tokenizer::eos() const { return model_->eos; }
std::string Tokenizer::piece(int64_t id) const {
  require(id >= 0 && id < vocab_size(), "the id {} is not among the tokenizer's {}", id,
          vocab_size());
  return model_->whole.IdToPiece(int(id));
}
const std::string& Tokenizer::bytes() const { return model_->bytes; }
const std::string& Tokenizer::hash() const { return model_->hash; }
bool Tokenizer::cuts_words() const { return model_->cuts_words; }

// A table of fixed size. A word has two places; a new one takes the first, whose word moves to the
// second, whose word is forgotten.
struct Encoder::Words {
  static constexpr size_t kSlots = size_t(1) << 16, kLongest = 23, kMostIds = 9;
  // The word's bytes, zeros, and its length as the last byte.
  struct Key {
    uint64_t a = 0, b = 0, c = 0;
    bool operator==(const Key&) const = default;
  };

  struct alignas(64) Entry {
    Key key = {};
    int32_t count = 0;
    std::array<int32_t, kMostIds> ids;
  };
  std::vector<Entry> entries = std::vector<Entry>(kSlots);
  std::string with_prefix;

  static Key key_of(std::string_view word) {
    std::array<char, sizeof(Key)> bytes = {};
    std::copy_n(word.data(), word.size(), bytes.data());
    bytes.back() = char(word.size());
    return std::bit_cast<Key>(bytes);
  }
  // The word's entry, or nullptr.
  const Entry* find(const Key& key) const {
    const size_t at = place(key);
    if (entries[at].key == key) return &entries[at];
    return entries[at ^ 1].key == key ? &entries[at ^ 1] : nullptr;
  }
  const Entry* insert(const Key& key, std::span<const int32_t> ids) {
    Entry& entry = entries[place(key)];
    entries[place(key) ^ 1] = entry;
    entry.key = key;
    entry.count = int32_t(ids.size());
    std::copy(ids.begin(), ids.end(), entry.ids.begin());
    return &entry;
  }

 private:
  static size_t place(const Key& key) {
    return mix64(key.a ^ mix64(key.b + mix64(key.c))) % kSlots;
  }
};

Encoder::Encoder(const Tokenizer& tokenizer) : model_(tokenizer.model_) {
  if (model_->cuts_words) words_ = std::make_unique<Words>();
}
Encoder::~Encoder() = default;
Encoder::Encoder(Encoder&&) noexcept = default;

void Encoder::encode(std::string_view text, bool first, std::vector<int32_t>& out) {
  if (text.empty()) return;
  if (!words_ || !is_utf8(text)) {
    append(whole_ids(first ? model_->whole : model_->rest, text), first, out);
    return;
  }
  if (first && model_->spec.add_dummy_prefix) {
    words_->with_prefix.assign(1, ' ').append(text);
    text = words_->with_prefix;
  }
  auto [previous, end] = first_character(text);
  while (end < text.size()) {
    const auto [code, bytes] = first_character(text.substr(end));
    if (!model_->pairs.has(previous, code)) {
      encode_word(text.substr(0, end), first, out);
      first = false;
      text.remove_prefix(end);
      end = 0;
    }
    previous = code;
    end += bytes;
  }
  encode_word(text, first, out);
}

void Encoder::encode_word(std::string_view word, bool first, std::vector<int32_t>& out) {
  if (word.size() > Words::kLongest) return append(whole_ids(model_->rest, word), first, out);
  const Words::Key key = Words::key_of(word);
  const Words::Entry* entry = words_->find(key);
  if (!entry) {
    const std::vector<int> ids = whole_ids(model_->rest, word);
    if (ids.size() > Words::kMostIds) return append(ids, first, out);
    entry = words_->insert(key, ids);
  }
  append({entry->ids.data(), size_t(entry->count)}, first, out);
}

// SentencePiece makes one unknown id of a run of unknown characters, so a run over a cut is one.
void Encoder::append(std::span<const int32_t> ids, bool first, std::vector<int32_t>& out) const {
  const int unknown = model_->unknown;
  if (!first && !ids.empty() && ids[0] == unknown && !out.empty() && out.back() == unknown)
    ids = ids.subspan(1);
  out.insert(out.end(), ids.begin(), ids.end());
}

size_t Encoder::cut(std::string_view rest) const {
  constexpr size_t kLongest = size_t(Tokenizer::kLongestPart);
  if (rest.size() <= kLongest) return rest.size();
  std::string_view part = rest.substr(0, kLongest + 3);
  part.remove_suffix(cut_character(part));
  for (size_t at = part.size() - 1; at > kLongest / 2; --at)
    if (part[at] == ' ' && may_cut(part, at)) return at;
  return part.size();
}

// A blank between two ASCII characters that are no blanks means the same to every normaliser.
bool Encoder::may_cut(std::string_view text, size_t blank) const {
  const auto plain = [](char c) { return c > ' ' && c < 127; };
  return blank + 1 < text.size() && plain(text[blank - 1]) && plain(text[blank + 1]) &&
         !model_->spec.whitespace_as_suffix && !model_->pairs.has(char32_t(text[blank - 1]), ' ');
}

}  // namespace limpid
