#include "data/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include "core/hash.h"
#include "core/random.h"
#include "tests/support/texts.h"

namespace limpid {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

class Sentences : public sentencepiece::SentenceIterator {
 public:
  explicit Sentences(std::vector<std::string> lines) : lines_(std::move(lines)) {}
  bool done() const override { return at_ == lines_.size(); }
  void Next() override { ++at_; }
  const std::string& value() const override { return lines_[at_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  std::vector<std::string> lines_;
  size_t at_ = 0;
};

// A model that SentencePiece trains itself, with flags that limpid would not choose.
std::string foreign_model(std::unordered_map<std::string, std::string> flags) {
  flags.insert({{"vocab_size", "500"}, {"minloglevel", "2"}, {"hard_vocab_limit", "false"}});
  Sentences sentences(training_lines(3, 600));
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(flags, &sentences, &model);
  require(status.ok(), "{}", status.ToString());
  return model;
}

std::string lossless_bpe(std::unordered_map<std::string, std::string> flags) {
  flags.insert({{"model_type", "bpe"},
                {"normalization_rule_name", "identity"},
                {"remove_extra_whitespaces", "false"},
                {"byte_fallback", "true"}});
  return foreign_model(flags);
}

std::string own_model(TokenizerType type, bool byte_fallback) {
  TokenizerTraining training;
  training.vocab_size = 600;
  training.type = type;
  training.byte_fallback = byte_fallback;
  training.shrink_to_fit = true;
  return train_tokenizer(training, training_lines(3, 600)).bytes();
}

struct Case {
  const char* name;
  std::string (*model)();
  bool cuts_words;
};

void PrintTo(const Case& one, std::ostream* out) { *out << one.name; }

// SentencePiece's mark for a blank is the one character that comes back as another.
std::string without_blank_marks(std::string text) {
  const std::string mark = "\xe2\x96\x81";
  for (size_t at = 0; (at = text.find(mark, at)) != std::string::npos;) text.erase(at, mark.size());
  return text;
}

class Models : public testing::TestWithParam<Case> {};

std::vector<int> plain_ids(const std::string& model, const std::string& text) {
  sentencepiece::SentencePieceProcessor processor;
  EXPECT_TRUE(processor.LoadFromSerializedProto(model).ok());
  return processor.EncodeAsIds(text);
}

TEST_P(Models, EncodeAsSentencePieceEncodesTheWholeText) {
  const std::string model = GetParam().model();
  const Tokenizer tokenizer = Tokenizer::from_bytes(model);
  EXPECT_EQ(tokenizer.cuts_words(), GetParam().cuts_words);
  sentencepiece::SentencePieceProcessor plain;
  ASSERT_TRUE(plain.LoadFromSerializedProto(model).ok());
  Encoder remembering(tokenizer);
  for (uint64_t seed = 0; seed < 300; ++seed) {
    const std::string text = random_text(seed, seed % 10 == 0 ? 20000 : seed * 7 % 200);
    std::vector<int32_t> ids;
    remembering.encode(text, true, ids);
    ASSERT_EQ(ids, plain.EncodeAsIds(text)) << "seed " << seed << ": " << text.substr(0, 300);
    if (seed % 25 == 0) {
      ASSERT_EQ(tokenizer.encode(text), ids);
    }
  }
}

TEST_P(Models, EncodeBrokenUtf8AsSentencePieceDoes) {
  const std::string model = GetParam().model();
  const Tokenizer tokenizer = Tokenizer::from_bytes(model);
  for (const std::string& text :
       {std::string("\xff\xfe abc"), std::string("ka \xc3"), std::string("\xe4\xbd lo")})
    EXPECT_EQ(tokenizer.encode(text), plain_ids(model, text));
}

class LosslessModels : public Models {};

TEST_P(LosslessModels, DecodeToTheSameText) {
  const Tokenizer tokenizer = Tokenizer::from_bytes(GetParam().model());
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const std::string text = without_blank_marks(random_text(seed, seed * 11 % 400));
    ASSERT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
  }
}

const Case kBpe = {"Bpe", [] { return own_model(TokenizerType::bpe, true); }, true};
const Case kUnigram = {"Unigram", [] { return own_model(TokenizerType::unigram, true); }, false};
const Case kBpeWithoutBytes = {"BpeWithoutBytes",
                               [] { return own_model(TokenizerType::bpe, false); }, true};
const Case kBpeNfkc = {"BpeNfkc", [] { return foreign_model({{"model_type", "bpe"}}); }, false};
const Case kUnigramNfkc = {"UnigramNfkc",
                           [] {
                             return foreign_model({{"model_type", "unigram"}});
                           },
                           false};
const Case kBpeBlanksAnywhere = {"BpeBlanksAnywhere",
                                 [] {
                                   return lossless_bpe({{"split_by_whitespace", "false"}});
                                 },
                                 true};
const Case kBpeWithoutPrefix = {"BpeWithoutPrefix",
                                [] {
                                  return lossless_bpe({{"add_dummy_prefix", "false"}});
                                },
                                true};
const Case kBpeOwnSymbols = {
    "BpeOwnSymbols",
    [] {
      return lossless_bpe({{"user_defined_symbols", "foo_bar,\xe2\x96\x81ka,x)"}});
    },
    true};
const Case kBpeSuffix = {"BpeSuffix",
                         [] {
                           return lossless_bpe({{"treat_whitespace_as_suffix", "true"}});
                         },
                         false};

std::string case_name(const testing::TestParamInfo<Case>& one) { return one.param.name; }

INSTANTIATE_TEST_SUITE_P(Kinds, Models,
                         testing::Values(kBpe, kUnigram, kBpeWithoutBytes, kBpeNfkc, kUnigramNfkc,
                                         kBpeBlanksAnywhere, kBpeWithoutPrefix, kBpeOwnSymbols,
                                         kBpeSuffix),
                         case_name);
INSTANTIATE_TEST_SUITE_P(Kinds, LosslessModels,
                         testing::Values(kBpe, kUnigram, kBpeBlanksAnywhere, kBpeWithoutPrefix,
                                         kBpeOwnSymbols),
                         case_name);

const Tokenizer& bpe() {
  static const Tokenizer tokenizer = Tokenizer::from_bytes(own_model(TokenizerType::bpe, true));
  return tokenizer;
}

TEST(Tokenizer, TakesLongTextsInPartsWithTheIdsOfTheWhole) {
  const std::string text = random_text(1, size_t(Tokenizer::kLongestPart) * 5 / 4);
  EXPECT_EQ(bpe().encode(text), plain_ids(bpe().bytes(), text));
}

TEST(Tokenizer, CutsEndlessTextsBetweenCharacters) {
  std::string text;
  while (int64_t(text.size()) <= 2 * Tokenizer::kLongestPart) text += "\xf0\x9f\x98\x80";
  const Encoder encoder(bpe());
  const size_t cut = encoder.cut(text);
  EXPECT_GE(cut, size_t(Tokenizer::kLongestPart));
  EXPECT_LT(cut, size_t(Tokenizer::kLongestPart) + 4);
  EXPECT_EQ(cut % 4, 0u);
  EXPECT_EQ(bpe().decode(bpe().encode(text)), text);
}

TEST(Tokenizer, KnowsItsVocabulary) {
  EXPECT_EQ(bpe().vocab_size(), 600);
  EXPECT_EQ(bpe().piece(bpe().bos()), "<s>");
  EXPECT_EQ(bpe().piece(bpe().eos()), "</s>");
  EXPECT_EQ(bpe().hash(), sha256_hex(bpe().bytes()));
  EXPECT_THAT([] { bpe().piece(600); }, ThrowsMessage<Error>(HasSubstr("id 600")));
  EXPECT_THAT([] { bpe().piece(-1); }, ThrowsMessage<Error>(HasSubstr("id -1")));
}

TEST(Tokenizer, DecodesControlIdsToNothingAndRefusesOthers) {
  std::vector<int32_t> ids = bpe().encode("ka lo");
  ids.insert(ids.begin(), int32_t(bpe().bos()));
  ids.push_back(int32_t(bpe().eos()));
  EXPECT_EQ(bpe().decode(ids), "ka lo");
  const std::vector<int32_t> wrong = {600};
  EXPECT_THAT([&] { bpe().decode(wrong); }, ThrowsMessage<Error>(HasSubstr("id 600")));
}

TEST(Tokenizer, RefusesWhatIsNoModel) {
  EXPECT_THROW(Tokenizer::from_bytes(""), Error);
  EXPECT_THROW(Tokenizer::from_bytes("no model"), Error);
  EXPECT_THAT([] { Tokenizer::load("/nowhere/tok.model"); },
              ThrowsMessage<Error>(HasSubstr("/nowhere/tok.model")));
}

// Whatever stands in the file: an Error or a tokenizer that works.
TEST(Tokenizer, SurvivesDamagedModels) {
  const std::string model = bpe().bytes();
  int refused = 0;
  for (uint64_t i = 0; i < 300; ++i) {
    const auto bits = Random(5, "damage").words(i);
    std::string damaged = model;
    if (i % 2) damaged.resize(bits[0] % model.size());
    for (uint32_t n = 0; !damaged.empty() && n <= bits[1] % 4; ++n)
      damaged[Random(6, "place", i).words(n)[0] % damaged.size()] ^= char(1 << bits[2] % 8);
    try {
      const Tokenizer tokenizer = Tokenizer::from_bytes(damaged);
      tokenizer.encode("ka lo\n42 \xf0\x9f\x98\x80");
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 50);
}

TEST(TokenizerTraining, SaysHowLargeAVocabularyMayBe) {
  TokenizerTraining training;
  training.vocab_size = 30000;
  const auto lines = training_lines(1, 50);
  EXPECT_THAT([&] { train_tokenizer(training, lines); },
              ThrowsMessage<Error>(testing::AllOf(HasSubstr("30000"), HasSubstr("or less"))));
  training.shrink_to_fit = true;
  const Tokenizer smaller = train_tokenizer(training, lines);
  EXPECT_GT(smaller.vocab_size(), 256);
  EXPECT_LT(smaller.vocab_size(), 30000);
  EXPECT_THROW(train_tokenizer(training, {}), Error);
}

TEST(TokenizerTraining, GivesTheSameModelTwice) {
  TokenizerTraining training;
  training.vocab_size = 400;
  const auto lines = training_lines(1, 200);
  EXPECT_EQ(train_tokenizer(training, lines).hash(), train_tokenizer(training, lines).hash());
}

TEST(LineSample, KeepsAShareOfTheLinesWithinItsLimit) {
  LineSample all(1 << 20, 7), some(2000, 7), again(2000, 7), other(2000, 8);
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const std::string text = random_text(seed, 500);
    for (LineSample* sample : {&all, &some, &again, &other}) sample->add(text);
  }
  EXPECT_LE(some.bytes(), 2000);
  EXPECT_GT(some.bytes(), 500);
  EXPECT_EQ(some.lines(), again.lines());
  EXPECT_NE(some.lines(), other.lines());
  EXPECT_EQ(some.seen_bytes(), all.seen_bytes());
  for (const std::string& line : some.lines()) EXPECT_THAT(all.lines(), testing::Contains(line));
}

TEST(LineSample, CutsLongLinesBetweenCharacters) {
  LineSample sample(1 << 20, 0);
  std::string line;
  for (int i = 0; i < 5000; ++i) line += "\xe4\xbd\xa0";
  sample.add(line);
  std::string joined;
  for (const std::string& piece : sample.lines()) {
    EXPECT_EQ(piece.size() % 3, 0u);
    EXPECT_LE(piece.size(), 4096u);
    joined += piece;
  }
  EXPECT_EQ(joined, line);
}

}  // namespace
}  // namespace limpid
