#include "data/shard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/hdf5.h"
#include "core/random.h"
#include "data/spool.h"
#include "tests/support/temp_folder.h"
#include "tests/support/texts.h"
#include "tests/support/tiny_corpus.h"

namespace limpid {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

// Overwrites bytes of a file.
void patch(const Path& path, int64_t offset, const std::string& bytes) {
  real_disk().open_append(path)->write_at(offset, bytes.data(), int64_t(bytes.size()));
}

int64_t offset_of(const Path& path, const char* name) {
  return hdf5::Reader(path).extent(name).offset;
}

std::vector<int32_t> all_tokens(const TokenShard& shard) {
  std::vector<int32_t> out(size_t(shard.tokens()));
  shard.copy(0, shard.tokens(), out.data());
  return out;
}

TEST(TokenShard, GivesBackWhatWasWritten) {
  const TempFolder folder;
  const Tokenizer& tokenizer = tiny_tokenizer();
  const int32_t bos = int32_t(tokenizer.bos()), eos = int32_t(tokenizer.eos());
  write_shard(folder / "a.h5", {{5, 6, 7}, {8}, {9, 10}});
  const TokenShard shard(folder / "a.h5");
  EXPECT_EQ(all_tokens(shard),
            (std::vector<int32_t>{bos, 5, 6, 7, eos, bos, 8, eos, bos, 9, 10, eos}));
  EXPECT_EQ(shard.documents(), 3);
  EXPECT_EQ(shard.info().text_bytes, 6);
  EXPECT_EQ(shard.info().vocab_size, tokenizer.vocab_size());
  EXPECT_EQ(shard.info().bos, bos);
  EXPECT_EQ(shard.info().eos, eos);
  EXPECT_EQ(shard.tokenizer_bytes(), tokenizer.bytes());
  EXPECT_EQ(shard.info().tokenizer_hash, tokenizer.hash());
  EXPECT_EQ(shard.sources().size(), 1u);
  EXPECT_EQ(shard.source_of(2).path, "made");
  shard.verify();

  for (const auto& [token, document] :
       std::vector<std::pair<int64_t, int64_t>>{{0, 0}, {4, 0}, {5, 1}, {7, 1}, {8, 2}, {11, 2}})
    EXPECT_EQ(shard.document_at(token), document) << "token " << token;
  EXPECT_EQ(shard.document_offset(1), 5);
  EXPECT_EQ(shard.document_offset(3), 12);
  std::vector<int32_t> two(2);
  shard.copy(6, 2, two.data());
  EXPECT_EQ(two, (std::vector<int32_t>{8, eos}));
  EXPECT_THROW(shard.copy(11, 2, two.data()), Error);
  EXPECT_THROW(shard.copy(-1, 1, two.data()), Error);
  EXPECT_THROW(shard.document_at(12), Error);
  EXPECT_THROW(shard.source_of(3), Error);
}

TEST(TokenShard, HasTheSameBytesForTheSameContent) {
  const TempFolder folder;
  write_random_shard(folder / "a.h5", 5000, 1);
  write_random_shard(folder / "b.h5", 5000, 1);
  EXPECT_EQ(read_text(folder / "a.h5"), read_text(folder / "b.h5"));
}

TEST(TokenShard, NamesTheTokenThatIsOutsideTheVocabulary) {
  const TempFolder folder;
  const Path path = folder / "a.h5";
  write_shard(path, {{5, 6, 7}, {8}});
  patch(path, offset_of(path, "/tokens") + 3 * 2, "\xff\xff");
  const TokenShard shard(path);
  std::vector<int32_t> out(8);
  shard.copy(4, 4, out.data());
  EXPECT_THAT([&] { shard.copy(0, 8, out.data()); },
              ThrowsMessage<Error>(AllOf(HasSubstr(path.string()), HasSubstr("token 3 is 65535"))));
  EXPECT_THAT([&] { shard.verify(); }, ThrowsMessage<Error>(HasSubstr("damaged")));
}

TEST(TokenShard, RefusesOffsetsThatCannotBe) {
  const TempFolder folder;
  const Path path = folder / "a.h5";
  const auto refuses = [&](int64_t document, int64_t offset, const char* why) {
    write_shard(path, {{5, 6, 7}, {8}, {9}});  // 0, 5, 8, 11
    patch(path, offset_of(path, "/document_offsets") + 8 * document,
          std::string(reinterpret_cast<const char*>(&offset), 8));
    EXPECT_THAT([&] { TokenShard shard(path); },
                ThrowsMessage<Error>(AllOf(HasSubstr(path.string()), HasSubstr(why))));
  };
  refuses(0, 1, "cover tokens 1 to 11 of 11");
  refuses(3, 12, "cover tokens 0 to 12 of 11");
  refuses(1, 8, "document 1 ends before it begins");
  refuses(1, 0, "document 0 ends before it begins");
  refuses(2, -5, "document 1 ends before it begins");
}

TEST(TokenShard, RefusesOtherFiles) {
  const TempFolder folder;
  EXPECT_THAT([&] { TokenShard shard(folder / "none.h5"); },
              ThrowsMessage<Error>(HasSubstr("none.h5")));
  write_file(folder / "text.h5", "some text");
  EXPECT_THAT([&] { TokenShard shard(folder / "text.h5"); },
              ThrowsMessage<Error>(HasSubstr("text.h5")));
  write_file(folder / "empty.h5", "");
  EXPECT_THROW(TokenShard(folder / "empty.h5"), Error);
  hdf5::Writer other(folder / "other.h5");
  other.text("/sources", "[]");
  other.close();
  EXPECT_THAT([&] { TokenShard shard(folder / "other.h5"); },
              ThrowsMessage<Error>(HasSubstr("limpid-tokenize encode")));
}

TEST(TokenShard, RefusesATruncatedFile) {
  const TempFolder folder;
  write_random_shard(folder / "a.h5", 3000, 1);
  const std::string whole = read_text(folder / "a.h5");
  for (uint64_t i = 0; i < 60; ++i) {
    write_file(folder / "b.h5", whole.substr(0, Random(2, "cut").words(i)[0] % whole.size()));
    EXPECT_THROW(TokenShard(folder / "b.h5"), Error) << "cut " << i;
  }
}

// Flipped bits in what limpid reads by itself: an Error, or a shard whose reading is safe.
TEST(TokenShard, SurvivesFlippedBits) {
  const TempFolder folder;
  const Path path = folder / "a.h5";
  write_random_shard(path, 3000, 1);
  const std::string whole = read_text(path);
  const std::vector<hdf5::Extent> extents = {hdf5::Reader(path).extent("/tokens"),
                                             hdf5::Reader(path).extent("/document_offsets")};
  int refused = 0;
  for (uint64_t i = 0; i < 200; ++i) {
    const auto bits = Random(3, "flip").words(i);
    const hdf5::Extent& extent = extents[i % 2];
    std::string damaged = whole;
    damaged[size_t(extent.offset + int64_t(bits[0]) % extent.bytes())] ^= char(1 << bits[1] % 8);
    write_file(path, damaged);
    try {
      const TokenShard shard(path);
      for (int64_t d = 0; d < shard.documents(); ++d)
        ASSERT_EQ(shard.document_at(shard.document_offset(d)), d);
      shard.verify();
      if (i % 2 == 0) all_tokens(shard);
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 100);  // verify() sees every flipped token
}

TEST(Spool, DropsADocumentThatTurnedOutBad) {
  const TempFolder folder;
  Spool spool(real_disk(), folder.path(), tiny_tokenizer());
  const std::vector<int32_t> ids = {4, 5};
  spool.begin(0, 1);
  spool.extend(ids, 2);
  spool.end();
  spool.begin(0, 2);
  spool.extend(ids, 2);
  spool.extend(ids, 2);
  spool.drop();
  spool.begin(1, 3);
  spool.extend({ids.data(), 1}, 1);
  spool.end();
  std::vector<Spool::Document> documents;
  spool.for_each([&](const Spool::Document& document) { documents.push_back(document); });
  ASSERT_EQ(documents.size(), 2u);
  EXPECT_EQ(documents[1].first, 4);
  EXPECT_EQ(documents[1].tokens, 3);
  EXPECT_EQ(documents[1].key, 3u);
  EXPECT_TRUE(list_folder(folder.path()).empty());  // its files have no names
}

TEST(Spool, DropsMoreThanItStillHasInMemory) {
  const TempFolder folder;
  Spool spool(real_disk(), folder.path(), tiny_tokenizer());
  const std::vector<int32_t> many(3'000'000, 7), few = {5};
  for (const auto* ids : {&few, &many, &few}) {
    spool.begin(0, 0);
    spool.extend(*ids, 1);
    if (ids == &many)
      spool.drop();
    else
      spool.end();
  }
  const auto all = [](const Spool::Document&) { return true; };
  write_shard(real_disk(), folder / "a.h5", spool, {Source{"x", 0, "", 0}}, all);
  const int32_t bos = int32_t(tiny_tokenizer().bos()), eos = int32_t(tiny_tokenizer().eos());
  EXPECT_EQ(all_tokens(TokenShard(folder / "a.h5")),
            (std::vector<int32_t>{bos, 5, eos, bos, 5, eos}));
}

TEST(Spool, RefusesIdsOutsideTheVocabulary) {
  const TempFolder folder;
  Spool spool(real_disk(), folder.path(), tiny_tokenizer());
  spool.begin(0, 0);
  const std::vector<int32_t> ids = {int32_t(tiny_tokenizer().vocab_size())};
  EXPECT_THROW(spool.extend(ids, 1), Error);
}

TEST(WriteShard, SplitsDocumentsOfSeveralSourcesAsToldAndLeavesNothingWhereItFails) {
  const TempFolder folder;
  Spool spool(real_disk(), folder.path(), tiny_tokenizer());
  for (uint64_t i = 0; i < 10000; ++i) {
    const std::vector<int32_t> ids(1 + i % 7, int32_t(i % 300));
    spool.begin(int64_t(i / 2500), i);
    spool.extend(ids, int64_t(i % 5));
    spool.end();
  }
  const std::vector<Source> sources = {
      {"a", 1, "", 0}, {"b", 2, "", 0}, {"c", 3, "", 0}, {"d", 4, "", 0}};
  const auto chosen = [](const Spool::Document& document) {
    return document.key % 3 == 0 && document.source != 1;
  };
  const ShardInfo info = write_shard(real_disk(), folder / "a.h5", spool, sources, chosen);
  const TokenShard shard(folder / "a.h5");
  EXPECT_EQ(info.documents, shard.documents());
  shard.verify();
  ASSERT_EQ(shard.sources().size(), 3u);
  int64_t at = 0;
  for (uint64_t i = 0; i < 10000; ++i) {
    if (i % 3 != 0 || i / 2500 == 1) continue;
    const int64_t first = shard.document_offset(at), end = shard.document_offset(at + 1);
    ASSERT_EQ(end - first, int64_t(1 + i % 7) + 2);
    int32_t id = 0;
    shard.copy(first + 1, 1, &id);
    ASSERT_EQ(id, int32_t(i % 300));
    ASSERT_EQ(shard.source_of(at).path, std::string(1, char('a' + i / 2500)));
    ++at;
  }
  EXPECT_EQ(at, shard.documents());

  const auto none = [](const Spool::Document&) { return false; };
  EXPECT_THROW(write_shard(real_disk(), folder / "none.h5", spool, sources, none), Error);
  EXPECT_THROW(write_shard(real_disk(), folder / "no" / "folder.h5", spool, sources, chosen),
               Error);
  EXPECT_EQ(list_folder(folder.path()), std::vector<std::string>{"a.h5"});
}

}  // namespace
}  // namespace limpid
