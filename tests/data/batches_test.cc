#include "data/batches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "core/hdf5.h"
#include "data/spool.h"
#include "tests/support/temp_folder.h"
#include "tests/support/texts.h"
#include "tests/support/tiny_corpus.h"

namespace limpid {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr int64_t kContext = 16;

struct Corpora {
  Corpora() {
    write_random_shard(folder / "a.h5", 2000, 1);
    write_random_shard(folder / "b.h5", 700, 2);
    write_random_shard(folder / "v.h5", 1000, 3);
    config.train = {(folder / "a.h5").string(), (folder / "b.h5").string()};
    config.validation = {"held=" + (folder / "v.h5").string()};
    config.seed = 5;
  }
  Batches open() const { return Batches(config, kContext, tiny_tokenizer().vocab_size()); }
  TempFolder folder;
  DataConfig config;
};

std::vector<int32_t> values(const Tensor& tensor) {
  return {tensor.as<int32_t>(), tensor.as<int32_t>() + tensor.numel()};
}

TEST(Batches, AreTheWindowsOfTheOrderWithTargetsMovedOnByOne) {
  const Corpora corpora;
  Batches batches = corpora.open();
  const TokenShard a(corpora.config.train[0]), b(corpora.config.train[1]);
  EXPECT_EQ(batches.tokens(), a.tokens() + b.tokens());
  EXPECT_EQ(batches.corpora()[0].windows, (a.tokens() - 1) / kContext);
  const Batch& batch = batches.get(3, 5);
  EXPECT_EQ(batch.tokens.shape, Shape({5, kContext}));
  EXPECT_EQ(batch.targets.shape, Shape({5, kContext}));
  EXPECT_FALSE(batch.document_start);
  EXPECT_EQ(batch.first_sample, 3);
  for (int64_t row = 0; row < 5; ++row) {
    const SampleId id = batches.order().sample(3 + row);
    EXPECT_EQ(batch.ids[size_t(row)], id);
    std::vector<int32_t> window(kContext + 1);
    (id.corpus ? b : a).copy(id.window * kContext, kContext + 1, window.data());
    EXPECT_EQ(values(batch.tokens.slice(row, row + 1)),
              std::vector<int32_t>(window.begin(), window.end() - 1));
    EXPECT_EQ(values(batch.targets.slice(row, row + 1)),
              std::vector<int32_t>(window.begin() + 1, window.end()));
  }
}

TEST(Batches, SayWhereEachTokensDocumentBegins) {
  Corpora corpora;
  corpora.config.document_mask = true;
  Batches batches = corpora.open();
  const TokenShard a(corpora.config.train[0]), b(corpora.config.train[1]);
  const int64_t all = batches.corpora()[0].windows + batches.corpora()[1].windows;
  const Batch& batch = batches.get(0, all);
  for (int64_t row = 0; row < all; ++row) {
    const SampleId id = batch.ids[size_t(row)];
    const TokenShard& shard = id.corpus ? b : a;
    for (int64_t t = 0; t < kContext; ++t) {
      const int64_t token = id.window * kContext + t;
      const int64_t begin = shard.document_offset(shard.document_at(token));
      ASSERT_EQ(batch.document_start.as<int32_t>()[row * kContext + t],
                std::max<int64_t>(0, begin - id.window * kContext));
    }
  }
}

// In order, jumping about, with other counts, and from the middle: always the same samples.
TEST(Batches, DependOnTheArgumentsAlone) {
  Corpora corpora;
  corpora.config.document_mask = true;
  std::map<int64_t, std::vector<int32_t>> rows;
  Batches one_by_one = corpora.open();
  for (int64_t i = 0; i < 300; ++i) {
    const Batch& batch = one_by_one.get(i, 1);
    rows[i] = values(batch.tokens);
    for (const Tensor& more : {batch.targets, batch.document_start})
      for (int32_t value : values(more)) rows[i].push_back(value);
  }
  const std::vector<std::vector<std::pair<int64_t, int64_t>>> walks = {
      {{0, 8}, {8, 8}, {16, 8}, {24, 8}},             // training
      {{100, 8}, {108, 8}, {116, 8}},                 // after a restart
      {{0, 4}, {16, 4}, {32, 4}, {48, 4}},            // one rank of four
      {{200, 3}, {100, 5}, {0, 7}, {7, 7}, {0, 1}},   // anything
      {{40, 2}, {30, 2}, {20, 2}, {10, 2}, {0, 2}}};  // back beyond the beginning
  for (const auto& walk : walks) {
    Batches batches = corpora.open();
    for (const auto& [first, count] : walk) {
      const Batch& batch = batches.get(first, count);
      ASSERT_EQ(batch.first_sample, first);
      for (int64_t row = 0; row < count; ++row) {
        std::vector<int32_t> found;
        for (const Tensor& part : {batch.tokens, batch.targets, batch.document_start})
          for (int32_t value : values(part.slice(row, row + 1))) found.push_back(value);
        ASSERT_EQ(found, rows[first + row]) << "sample " << first + row;
      }
    }
  }
}

TEST(Batches, StayValidUntilTheNextCall) {
  const Corpora corpora;
  Batches batches = corpora.open();
  batches.get(0, 4);
  const Batch& batch = batches.get(4, 4);
  const std::vector<int32_t> before = values(batch.tokens);
  for (int i = 0; i < 50; ++i) corpora.open().get(0, 4);  // gives its thread time
  EXPECT_EQ(values(batch.tokens), before);
}

TEST(Batches, MixByWeight) {
  Corpora corpora;
  corpora.config.weights = {1, 3};
  Batches batches = corpora.open();
  EXPECT_DOUBLE_EQ(batches.corpora()[1].weight, 0.75);
  const Batch& batch = batches.get(0, 100);
  const auto second = std::count_if(batch.ids.begin(), batch.ids.end(),
                                    [](const SampleId& id) { return id.corpus == 1; });
  EXPECT_NEAR(double(second), 75, 1);
}

TEST(Batches, CarryTheTokenizer) {
  const Corpora corpora;
  EXPECT_EQ(corpora.open().tokenizer_bytes(), tiny_tokenizer().bytes());
}

TEST(Batches, RefuseWhatDoesNotFitTogether) {
  Corpora corpora;
  const int64_t vocab = tiny_tokenizer().vocab_size();
  EXPECT_THAT([&] { Batches(corpora.config, kContext, vocab - 1); },
              ThrowsMessage<Error>(AllOf(HasSubstr("a.h5"), HasSubstr("vocabulary"))));
  EXPECT_THAT([&] { Batches(corpora.config, 900, vocab); },
              ThrowsMessage<Error>(AllOf(HasSubstr("b.h5"), HasSubstr("shorter context"))));
  corpora.config.train[1] = "/nowhere/c.h5";
  EXPECT_THAT([&] { corpora.open(); }, ThrowsMessage<Error>(HasSubstr("/nowhere/c.h5")));
}

TEST(Batches, RefuseShardsOfDifferentTokenizers) {
  Corpora corpora;
  TokenizerTraining training;
  training.vocab_size = 300;
  const Tokenizer other = train_tokenizer(training, training_lines(1, 100));
  Spool spool(real_disk(), corpora.folder.path(), other);
  spool.begin(0, 0);
  spool.extend(std::vector<int32_t>(100, 5), 100);
  spool.end();
  write_shard(real_disk(), corpora.folder / "other.h5", spool, {Source{"x", 0, "", 0}},
              [](const Spool::Document&) { return true; });
  corpora.config.train[1] = (corpora.folder / "other.h5").string();
  EXPECT_THAT([&] { corpora.open(); }, ThrowsMessage<Error>(HasSubstr("different tokenizers")));
}

TEST(Batches, NameADamagedTokenWhenItsBatchIsAskedFor) {
  Corpora corpora;
  const int64_t offset = hdf5::Reader(corpora.config.train[0]).extent("/tokens").offset;
  real_disk().open_append(corpora.config.train[0])->write_at(offset + 40, "\xff\xff", 2);
  Batches batches = corpora.open();
  int failures = 0;
  for (int64_t i = 0; i < 150; ++i) {
    const SampleId id = batches.order().sample(i);
    const bool holds_it = id.corpus == 0 && id.window == 20 / kContext;
    if (!holds_it) {
      EXPECT_NO_THROW(batches.get(i, 1)) << i;
      continue;
    }
    ++failures;
    EXPECT_THAT([&] { batches.get(i, 1); }, ThrowsMessage<Error>(HasSubstr("token 20 is 65535")));
  }
  EXPECT_EQ(failures, 1);
}

TEST(ValidationSets, SpreadTheirWindowsEvenlyAndAlwaysTheSame) {
  Corpora corpora;
  corpora.config.validation_sequences = 10;
  Batches batches = corpora.open();
  ASSERT_EQ(batches.validation().size(), 1u);
  ValidationSet& set = batches.validation()[0];
  EXPECT_EQ(set.info().name, "held");
  EXPECT_EQ(set.sequences(), 10);
  EXPECT_GT(set.bytes_per_token(), 0);
  const TokenShard shard(corpora.folder / "v.h5");
  const Batch& batch = set.get(2, 8);
  for (int64_t row = 0; row < 8; ++row) {
    const int64_t window = (2 + row) * set.info().windows / 10;
    EXPECT_EQ(batch.ids[size_t(row)].window, window);
    std::vector<int32_t> wanted(kContext);
    shard.copy(window * kContext + 1, kContext, wanted.data());
    EXPECT_EQ(values(batch.targets.slice(row, row + 1)), wanted);
  }
  EXPECT_THROW(set.get(5, 6), Error);
}

TEST(ValidationSets, AreWholeWhereNoNumberIsSet) {
  Corpora corpora;
  corpora.config.validation_sequences = 0;
  Batches batches = corpora.open();
  ValidationSet& set = batches.validation()[0];
  std::set<int64_t> windows;
  for (const SampleId& id : set.get(0, set.sequences()).ids) windows.insert(id.window);
  EXPECT_EQ(int64_t(windows.size()), set.info().windows);
}

TEST(DataConfig, SaysWhatCannotBe) {
  const auto problems = [](const DataConfig& config) {
    Problems found;
    config.check(found);
    std::string out;
    for (const auto& problem : found.found) out += problem.key + ": " + problem.text + "\n";
    return out;
  };
  DataConfig good;
  good.train = {"a.h5", "b.h5"};
  good.weights = {1, 2};
  good.validation = {"v.h5", "w=w.h5"};
  EXPECT_EQ(problems(good), "");
  DataConfig none;
  EXPECT_THAT(problems(none), HasSubstr("train: names no shard"));
  DataConfig bad = good;
  bad.weights = {1};
  bad.validation = {"=x", "v=1", "v=2"};
  EXPECT_THAT(problems(bad),
              AllOf(HasSubstr("weights: has 1 numbers for 2 shards"),
                    HasSubstr("\"=x\" is neither"), HasSubstr("\"v\" stands twice")));
  bad.weights = {1, -1};
  EXPECT_THAT(problems(bad), HasSubstr("weights: -1"));
}

}  // namespace
}  // namespace limpid
