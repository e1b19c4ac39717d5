#include "data/encode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "core/hash.h"
#include "tests/support/temp_folder.h"
#include "tests/support/texts.h"
#include "tests/support/tiny_corpus.h"

namespace limpid {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

const auto quiet = [](const EncodeProgress&) {};

std::vector<int32_t> document(const TokenShard& shard, int64_t index) {
  const int64_t first = shard.document_offset(index);
  std::vector<int32_t> out(size_t(shard.document_offset(index + 1) - first));
  shard.copy(first, int64_t(out.size()), out.data());
  return out;
}

std::vector<int32_t> wanted(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<int32_t> out = tokenizer.encode(text);
  out.insert(out.begin(), int32_t(tokenizer.bos()));
  out.push_back(int32_t(tokenizer.eos()));
  return out;
}

// Files of lines, one a document, and what the documents are.
struct Lines {
  Lines() {
    std::string text;
    for (uint64_t i = 0; i < 3000; ++i) {
      std::string line = random_text(i, i % 200) + std::to_string(i);
      for (char& c : line)
        if (c == '\n' || c == '\r') c = ' ';
      texts.push_back(line);
      text += line + "\n";
    }
    write_file(folder / "in.txt", text);
    config.reader.inputs = {(folder / "in.txt").string()};
    config.reader.documents.split = TextSplit::lines;
    config.output = (folder / "out").string();
  }
  TempFolder folder;
  std::vector<std::string> texts;
  EncodeConfig config;
};

TEST(Encode, WritesEachDocumentBetweenBosAndEos) {
  const Lines lines;
  const EncodeReport report = encode_texts(lines.config, tiny_tokenizer(), quiet);
  const TokenShard shard(lines.folder / "out.h5");
  ASSERT_EQ(shard.documents(), 3000);
  EXPECT_EQ(report.train.tokens, shard.tokens());
  EXPECT_FALSE(report.validation);
  EXPECT_EQ(report.counts.documents, 3000);
  int64_t bytes = 0;
  for (int64_t i = 0; i < 3000; ++i) {
    ASSERT_EQ(document(shard, i), wanted(tiny_tokenizer(), lines.texts[size_t(i)])) << i;
    bytes += int64_t(lines.texts[size_t(i)].size());
  }
  EXPECT_EQ(shard.info().text_bytes, bytes);
  shard.verify();
  EXPECT_EQ(shard.sources()[0].sha256, sha256_hex(read_text(lines.folder / "in.txt")));
  EXPECT_THAT(list_folder(lines.folder.path()), ElementsAre("in.txt", "out.h5"));
}

TEST(Encode, GivesTheSameBytesOnAnyNumberOfThreads) {
  Lines lines;
  lines.config.validation = 0.1;
  std::set<std::string> trains, validations;
  for (int64_t threads : {1, 2, 5}) {
    lines.config.threads = threads;
    lines.config.force = true;
    encode_texts(lines.config, tiny_tokenizer(), quiet);
    trains.insert(sha256_hex(read_text(lines.folder / "out-train.h5")));
    validations.insert(sha256_hex(read_text(lines.folder / "out-validation.h5")));
  }
  EXPECT_EQ(trains.size(), 1u);
  EXPECT_EQ(validations.size(), 1u);
}

TEST(Encode, EncodesLongDocumentsAsTheTokenizerDoes) {
  const TempFolder folder;
  const std::string text = random_text(4, 3'500'000);
  EncodeConfig config;
  config.output = (folder / "out.h5").string();
  for (const char* name : {"long.txt", "long.jsonl"}) {
    std::string json = "{\"text\": \"";
    for (char c : text)
      json += c == '"'      ? "\\\""
              : c == '\\'   ? "\\\\"
              : c == '\n'   ? "\\n"
              : c == '\r'   ? "\\r"
              : c == '\t'   ? "\\t"
              : c == '\x01' ? "\\u0001"
                            : std::string(1, c);
    write_file(folder / name, std::string(name) == "long.txt" ? text : json + "\"}\n");
    config.reader.inputs = {(folder / name).string()};
    config.force = true;
    encode_texts(config, tiny_tokenizer(), quiet);
    EXPECT_EQ(document(TokenShard(folder / "out.h5"), 0), wanted(tiny_tokenizer(), text)) << name;
  }
}

// The rule of encode.h, written again.
uint64_t key_of(int64_t seed, const std::string& text) {
  const std::string hex = sha256_hex(std::to_string(seed) + ":" + text.substr(0, 65536));
  return std::stoull(hex.substr(0, 16), nullptr, 16);
}

TEST(Encode, HoldsOutDocumentsByTheHashOfTheirText) {
  Lines lines;
  lines.config.validation = 0.125;
  lines.config.seed = 9;
  encode_texts(lines.config, tiny_tokenizer(), quiet);
  const TokenShard train(lines.folder / "out-train.h5");
  const TokenShard validation(lines.folder / "out-validation.h5");
  EXPECT_EQ(train.documents() + validation.documents(), 3000);
  EXPECT_NEAR(double(validation.documents()), 375, 75);
  int64_t trains = 0, validations = 0;
  for (const std::string& text : lines.texts) {
    const bool held = key_of(9, text) < uint64_t(1) << 61;
    ASSERT_EQ(document(held ? validation : train, held ? validations++ : trains++),
              wanted(tiny_tokenizer(), text));
  }
}

TEST(Encode, HoldsOutAtLeastOneDocumentAndNotAll) {
  const TempFolder folder;
  EncodeConfig config;
  config.reader.documents.split = TextSplit::lines;
  config.reader.inputs = {(folder / "in.txt").string()};
  config.output = (folder / "out.h5").string();
  config.force = true;
  write_file(folder / "in.txt", "one\ntwo\nthree\nthree\n");
  for (double share : {1e-9, 0.989}) {
    config.validation = share;
    const EncodeReport report = encode_texts(config, tiny_tokenizer(), quiet);
    EXPECT_GE(report.train.documents, 1) << share;
    EXPECT_GE(report.validation->documents, 1) << share;
    EXPECT_EQ(report.train.documents + report.validation->documents, 4) << share;
  }
  write_file(folder / "in.txt", "same\nsame\n");
  EXPECT_THAT([&] { encode_texts(config, tiny_tokenizer(), quiet); },
              ThrowsMessage<Error>(HasSubstr("--split")));
}

TEST(Encode, LeavesNothingBehindWhereItFails) {
  Lines lines;
  const std::string text = read_text(lines.folder / "in.txt");
  write_file(lines.folder / "in.txt", text + "\xff\n");
  EXPECT_THAT([&] { encode_texts(lines.config, tiny_tokenizer(), quiet); },
              ThrowsMessage<Error>(HasSubstr("in.txt: line 3001")));
  EXPECT_THAT(list_folder(lines.folder.path()), ElementsAre("in.txt"));
}

TEST(Encode, ReplacesAShardOnlyWhereForced) {
  Lines lines;
  encode_texts(lines.config, tiny_tokenizer(), quiet);
  EXPECT_THAT([&] { encode_texts(lines.config, tiny_tokenizer(), quiet); },
              ThrowsMessage<Error>(HasSubstr("--force")));
  lines.config.force = true;
  EXPECT_NO_THROW(encode_texts(lines.config, tiny_tokenizer(), quiet));
}

TEST(Encode, TellsHowFarItIs) {
  const Lines lines;
  EncodeProgress last;
  encode_texts(lines.config, tiny_tokenizer(), [&](const EncodeProgress& now) {
    EXPECT_GE(now.bytes_read, last.bytes_read);
    EXPECT_GE(now.tokens, last.tokens);
    last = now;
  });
  EXPECT_EQ(last.bytes_read, last.bytes_total);
  EXPECT_EQ(last.documents, 3000);
  EXPECT_EQ(last.tokens, TokenShard(lines.folder / "out.h5").tokens());
}

TEST(Encode, ForgetsTheLongDocumentThatEndsBad) {
  const TempFolder folder;
  const std::string text = random_text(1, 3'000'000);
  write_file(folder / "a.txt", "good one");
  write_file(folder / "b.txt", text + "\xff");
  write_file(folder / "c.txt", "good two");
  EncodeConfig config;
  config.reader.inputs = {folder.path().string()};
  config.reader.skip_bad = true;
  config.output = (folder / "out.h5").string();
  const EncodeReport report = encode_texts(config, tiny_tokenizer(), quiet);
  EXPECT_EQ(report.counts.bad, 1);
  const TokenShard shard(folder / "out.h5");
  ASSERT_EQ(shard.documents(), 2);
  EXPECT_EQ(document(shard, 1), wanted(tiny_tokenizer(), "good two"));
  EXPECT_EQ(shard.source_of(1).path, (folder / "c.txt").string());
}

}  // namespace
}  // namespace limpid
