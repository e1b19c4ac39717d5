#include "data/sentencepiece_spec.h"

#include "core/error.h"

namespace limpid {
namespace {

// Numbers of fields in sentencepiece_model.proto.
enum ModelField { kTrainer = 2, kNormalizer = 3 };
enum TrainerField { kModelType = 3, kSuffix = 24, kByteFallback = 35 };
enum NormalizerField { kCharsMap = 2, kDummyPrefix = 3, kRemoveExtra = 4, kEscape = 5 };

// Walks the fields of one protocol buffer message.
class Message {
 public:
  explicit Message(std::string_view all) : rest_(all) {}

  // Steps to the next field; false at the end.
  bool next() {
    if (rest_.empty()) return false;
    const uint64_t tag = varint();
    number = int(tag >> 3);
    value = 0;
    bytes = {};
    switch (tag & 7) {
      case 0:
        value = varint();
        break;
      case 1:
        bytes = take(8);
        break;
      case 2:
        bytes = take(varint());
        break;
      case 5:
        bytes = take(4);
        break;
      default:
        fail("an unknown kind of field");
    }
    return true;
  }

  int number = 0;
  uint64_t value = 0;      // of a varint
  std::string_view bytes;  // of all others

 private:
  uint64_t varint() {
    uint64_t out = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const uint8_t byte = uint8_t(take(1)[0]);
      out |= uint64_t(byte & 127) << shift;
      if (byte < 128) return out;
    }
    fail("a number of more than 64 bits");
  }
  std::string_view take(uint64_t count) {
    require(count <= rest_.size(), "it ends in the middle of a field");
    const std::string_view out = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return out;
  }
  std::string_view rest_;
};

}  // namespace

SentencePieceSpec read_sentencepiece_spec(std::string_view model) {
  SentencePieceSpec spec;
  for (Message file(model); file.next();) {
    if (file.number == kTrainer) {
      for (Message trainer(file.bytes); trainer.next();) {
        if (trainer.number == kModelType) spec.type = int(trainer.value);
        if (trainer.number == kSuffix) spec.whitespace_as_suffix = trainer.value != 0;
        if (trainer.number == kByteFallback) spec.byte_fallback = trainer.value != 0;
      }
    } else if (file.number == kNormalizer) {
      for (Message normalizer(file.bytes); normalizer.next();) {
        if (normalizer.number == kCharsMap) spec.maps_characters = !normalizer.bytes.empty();
        if (normalizer.number == kDummyPrefix) spec.add_dummy_prefix = normalizer.value != 0;
        if (normalizer.number == kRemoveExtra)
          spec.remove_extra_whitespaces = normalizer.value != 0;
        if (normalizer.number == kEscape) spec.escape_whitespaces = normalizer.value != 0;
      }
    }
  }
  return spec;
}

std::string with_dummy_prefix(std::string model, bool add_dummy_prefix) {
  constexpr char kMessage = 2, kVarint = 0;
  for (char byte : {char(kNormalizer << 3 | kMessage), char(2), char(kDummyPrefix << 3 | kVarint),
                    char(add_dummy_prefix)})
    model += byte;
  return model;
}

}  // namespace limpid
