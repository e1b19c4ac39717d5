#include "data/reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/hash.h"
#include "core/random.h"
#include "tests/support/temp_folder.h"
#include "tests/support/texts.h"

namespace limpid {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::ThrowsMessage;

using Texts = std::vector<std::string>;

// All documents, put together from their parts.
Texts read_all(Reader& reader) {
  Texts out;
  std::string open;
  for (Part part; reader.next(part);) {
    if (part.first) open.clear();
    open += part.text;
    if (part.last && !part.dropped) out.push_back(open);
  }
  return out;
}

Texts read_all(const ReaderConfig& config) {
  Reader reader(config);
  return read_all(reader);
}

ReaderConfig of(const Path& path, TextSplit split = TextSplit::files) {
  ReaderConfig config;
  config.inputs = {path.string()};
  config.documents.split = split;
  return config;
}

auto fails_with(const std::string& a, const std::string& b) {
  return ThrowsMessage<Error>(AllOf(HasSubstr(a), HasSubstr(b), HasSubstr("--skip-bad")));
}

TEST(Reader, SplitsTextAsTold) {
  const TempFolder folder;
  const Path path = folder / "a.txt";
  const std::string text = "one\r\n two \n\n\n \t\nthree\n\nfour";
  write_file(path, text);
  EXPECT_THAT(read_all(of(path)), ElementsAre(text));
  EXPECT_THAT(read_all(of(path, TextSplit::lines)),
              ElementsAre("one", " two ", " \t", "three", "four"));
  EXPECT_THAT(read_all(of(path, TextSplit::paragraphs)),
              ElementsAre("one\n two ", "three", "four"));
}

TEST(Reader, ReadsJsonLines) {
  const TempFolder folder;
  const Path path = folder / "a.jsonl";
  write_file(path,
             "\xef\xbb\xbf{\"id\": 1, \"text\": \"a\\nb \\u00e9 \\ud83d\\ude00\"}\r\n\n"
             "  {\"text\":\"\", \"x\":[{\"text\":\"inner\"}]}\n{\"meta\":{}, \"text\":\"last\"}");
  Reader reader(of(path));
  EXPECT_THAT(read_all(reader), ElementsAre("a\nb \xc3\xa9 \xf0\x9f\x98\x80", "last"));
  EXPECT_EQ(reader.counts().empty, 1);
  EXPECT_EQ(reader.counts().documents, 2);

  ReaderConfig other = of(path);
  other.documents.field = "body";
  write_file(path, "{\"body\": \"x\"}");
  EXPECT_THAT(read_all(other), ElementsAre("x"));
  other.documents.format = TextFormat::text;
  EXPECT_THAT(read_all(other), ElementsAre("{\"body\": \"x\"}"));
}

TEST(Reader, ReadsCompressedFilesAsTheFilesThemselves) {
  const TempFolder folder;
  const std::string text = random_text(1, 3'000'000), lines = "{\"text\": \"x\"}\n";
  write_file(folder / "a.txt.gz", gzip(text));
  write_file(folder / "b.txt.zst", zstd(text));
  write_file(folder / "two.txt.gz", gzip("one ") + gzip("two"));
  write_file(folder / "two.txt.zst", zstd("one ") + zstd("two"));
  write_file(folder / "c.jsonl.gz", gzip(lines));
  write_file(folder / "d.jsonl.zst", zstd(lines));
  EXPECT_EQ(read_all(of(folder / "a.txt.gz")), Texts{text});
  EXPECT_EQ(read_all(of(folder / "b.txt.zst")), Texts{text});
  EXPECT_THAT(read_all(of(folder / "two.txt.gz")), ElementsAre("one two"));
  EXPECT_THAT(read_all(of(folder / "two.txt.zst")), ElementsAre("one two"));
  EXPECT_THAT(read_all(of(folder / "c.jsonl.gz")), ElementsAre("x"));
  EXPECT_THAT(read_all(of(folder / "d.jsonl.zst")), ElementsAre("x"));
}

TEST(Reader, GivesLongTextsInPartsBetweenCharacters) {
  const TempFolder folder;
  std::string text = "x";
  while (text.size() < 3 * Documents::kPartBytes) text += "\xf0\x9f\x98\x80";
  write_file(folder / "a.txt", text);
  Reader reader(of(folder / "a.txt"));
  std::string joined;
  int parts = 0;
  for (Part part; reader.next(part); ++parts) {
    EXPECT_EQ(part.first, parts == 0);
    EXPECT_EQ(part.text.size() % 4, parts == 0 ? 1u : 0u);
    joined += part.text;
    EXPECT_EQ(part.last, joined.size() == text.size());
  }
  EXPECT_EQ(joined, text);
  EXPECT_GE(parts, 3);
}

TEST(Reader, ReadsLongLinesWhole) {
  const TempFolder folder;
  const std::string line = random_text(1, 100) + std::string(2'000'000, 'y');
  std::string flat = line;
  std::replace(flat.begin(), flat.end(), '\n', ' ');
  std::replace(flat.begin(), flat.end(), '\r', ' ');
  write_file(folder / "a.txt", "first\n" + flat + "\nlast\n");
  EXPECT_THAT(read_all(of(folder / "a.txt", TextSplit::lines)), ElementsAre("first", flat, "last"));
}

TEST(Reader, ReadsFoldersInTheOrderOfTheirPathsAndLeavesOutWhatIsNoText) {
  const TempFolder folder;
  real_disk().make_folders(folder / "b/inner");
  write_file(folder / "b/inner/z.txt", "three");
  write_file(folder / "b/a.txt", "two");
  write_file(folder / "a.cc", "one");
  write_file(folder / "image.png", std::string("\x89PNG\0\0", 6));
  write_file(folder / "empty.txt", "");
  write_file(folder / "tar.gz", gzip(std::string(5000, '\0')));
  std::filesystem::create_symlink(folder / "a.cc", folder / "link.cc");
  Reader reader(of(folder.path()));
  EXPECT_THAT(read_all(reader), ElementsAre("one", "two", "three"));
  EXPECT_EQ(reader.counts().not_text, 2);
  EXPECT_EQ(reader.counts().empty, 1);
  EXPECT_EQ(reader.counts().bad, 0);
  EXPECT_EQ(reader.bytes_read(), reader.bytes_total());
}

TEST(Reader, HashesItsFilesAsTheyLieOnDisk) {
  const TempFolder folder;
  const std::string packed = gzip("some text");
  write_file(folder / "a.gz", packed);
  Reader reader(of(folder / "a.gz"));
  read_all(reader);
  ASSERT_EQ(reader.sources().size(), 1u);
  EXPECT_EQ(reader.sources()[0].sha256, sha256_hex(packed));
  EXPECT_EQ(reader.sources()[0].bytes, int64_t(packed.size()));
  EXPECT_EQ(reader.sources()[0].path, (folder / "a.gz").string());
}

TEST(Reader, NamesFileAndLineOfWhatItCannotRead) {
  const TempFolder folder;
  const auto check = [&](const char* name, const std::string& bytes, const char* what,
                         TextSplit split = TextSplit::files) {
    write_file(folder / name, bytes);
    EXPECT_THAT([&] { read_all(of(folder / name, split)); },
                fails_with((folder / name).string(), what));
  };
  const std::string good = "{\"text\": \"x\"}\n";
  check("a.jsonl", good + "{\"text\": \"half", "line 2");
  check("a.jsonl", good + good + "[1, 2]\n", "line 3: JSON, but no object");
  check("a.jsonl", "{\"body\": \"x\", \"id\": 1}\n", "\"text\", only \"body\", \"id\"");
  check("a.jsonl", "{\"text\": 5}\n", "line 1: the field \"text\" is no text");
  check("a.jsonl", "{\"text\": null}\n", "line 1");
  check("a.jsonl", good + "{\"text\": \"\xff\"}\n", "line 2");
  check("a.jsonl", good + "{\"text\": \"a\\u0000b\"}\n", "line 2: a NUL byte");
  check("a.jsonl", good + "{\"text\": \"x\"} {\"text\": \"y\"}\n", "line 2");
  check("a.txt", "one\ntwo \xe4\xbd\nthree\n", "line 2: not UTF-8");
  check("a.txt", "one\ntwo\nthr\xff", "line 3: not UTF-8");
  check("a.txt", std::string("one\nt\0o", 7), "line 2: a NUL byte");
  check("a.txt", "one\n\xc3(\n", "line 2: not UTF-8", TextSplit::lines);
  check("a.txt", "one\n\ntwo\nthree\xff\n", "line 4: not UTF-8", TextSplit::paragraphs);
  check("a.txt", "", "holds no text");
  check("a.txt", "\n\n", "holds no text", TextSplit::lines);
  check("a.jsonl", "", "holds no text");
  check("a.gz", "no gzip at all", "gzip");
  check("a.gz", gzip("some text").substr(0, 20), "truncated");
  check("a.gz", gzip("some text") + "more", "gzip");
  check("a.zst", "no zstd at all", "zstd");
  check("a.zst", zstd(random_text(1, 5000)).substr(0, 300), "truncated");
  EXPECT_THAT([&] { read_all(of(folder / "none")); },
              ThrowsMessage<Error>(HasSubstr("no such file")));
  EXPECT_THAT([] { Reader reader(ReaderConfig{}); }, ThrowsMessage<Error>(HasSubstr("nothing")));
  real_disk().make_folders(folder / "bare");
  EXPECT_THAT([&] { read_all(of(folder / "bare")); },
              ThrowsMessage<Error>(HasSubstr((folder / "bare").string())));
}

TEST(Reader, LeavesOutAndCountsWhatIsBadWhereTold) {
  const TempFolder folder;
  const std::string long_text = random_text(1, 3 * Documents::kPartBytes);
  write_file(folder / "a.jsonl", "{\"text\": \"x\"}\n{\"text\": 1}\nhalf {\n{\"text\": \"y\"}\n");
  write_file(folder / "b.txt", "good");
  write_file(folder / "c.txt", long_text + "\xff and more");
  write_file(folder / "d.txt.gz", gzip(long_text).substr(0, 600'000));
  write_file(folder / "e.jsonl.gz", gzip("{\"text\": \"z\"}\n" + long_text).substr(0, 2000));
  write_file(folder / "f.txt", "last");
  ReaderConfig config = of(folder.path());
  config.skip_bad = true;
  Reader reader(config);
  EXPECT_THAT(read_all(reader), ElementsAre("x", "y", "good", "z", "last"));
  EXPECT_THAT(reader.counts().first_bad, HasSubstr("a.jsonl: line 2"));
  EXPECT_EQ(reader.counts().documents, 5);
  EXPECT_GE(reader.counts().bad, 5);
}

// Random damage: an Error or other documents, never more. With skip_bad, always an end.
class Damage : public testing::TestWithParam<const char*> {};

TEST_P(Damage, GivesAnErrorOrDocuments) {
  const TempFolder folder;
  const std::string name = GetParam();
  std::string good;
  for (uint64_t i = 0; i < 40; ++i)
    good += "{\"id\": " + std::to_string(i) + ", \"text\": \"line " + std::to_string(i * i) +
            " \\u00e9\\n\", \"meta\": [1, {\"a\": null}]}\n";
  if (name.ends_with(".gz")) good = gzip(good);
  if (name.ends_with(".zst")) good = zstd(good);
  int refused = 0;
  for (uint64_t i = 0; i < 400; ++i) {
    const auto bits = Random(7, name).words(i);
    std::string damaged = good;
    if (i % 3 == 0) damaged.resize(bits[0] % good.size());
    for (uint32_t n = 0; n < bits[1] % 4 && !damaged.empty(); ++n) {
      const auto place = Random(8, name, i).words(n);
      damaged[place[0] % damaged.size()] = char(place[1]);
    }
    write_file(folder / name, damaged);
    ReaderConfig config = of(folder / name);
    try {
      read_all(config);
    } catch (const Error& error) {
      ++refused;
      EXPECT_THAT(error.what(), HasSubstr(name));
    }
    config.skip_bad = true;
    Reader tolerant(config);
    EXPECT_LE(read_all(tolerant).size(), 90u);
  }
  EXPECT_GT(refused, 100);
}

INSTANTIATE_TEST_SUITE_P(Kinds, Damage, testing::Values("a.jsonl", "a.jsonl.gz", "a.jsonl.zst"));

}  // namespace
}  // namespace limpid
