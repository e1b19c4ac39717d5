#include "checkpoint/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/hash.h"
#include "core/random.h"

namespace limpid {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

std::string hash(const std::string& text) { return sha256_hex(text); }

Manifest sample() {
  Manifest manifest{.run = "00112233445566778899aabbccddeeff", .step = 400};
  manifest.parent = {300, hash("parent")};
  for (const char* name : {kModel, kOptimizer, kAccount})
    manifest.files.push_back({.name = name, .bytes = 100, .rest = {hash("rest")}});
  ManifestFile& model = manifest.files[0];
  model.bytes = 200 << 20;
  model.tensors = {
      {"a", {4, 256}, DType::bf16, 4096, {hash("a")}},
      {"b", {25 << 20}, DType::f32, 8192, {hash("b0"), hash("b1")}},
  };
  model.rest = {hash("r0"), hash("r1")};
  return manifest;
}

// The text with one part replaced and the hash made anew, as somebody hostile would.
std::string forged(const std::string& from, const std::string& to) {
  Manifest manifest = sample();
  std::string text = write_manifest(manifest);
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  text.replace(at, from.size(), to);
  const size_t end = text.rfind(" \"sha256\": \"");
  return text.substr(0, end) + " \"sha256\": \"" + hash(text.substr(0, end)) + "\"\n}\n";
}

TEST(MerkleRoot, JoinsNeighboursAndMovesAnOddOneUp) {
  EXPECT_EQ(merkle_root({}), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(merkle_root({"a"}), "a");
  EXPECT_EQ(merkle_root({"a", "b"}), hash("ab"));
  EXPECT_EQ(merkle_root({"a", "b", "c"}), hash(hash("ab") + "c"));
  EXPECT_EQ(merkle_root({"a", "b", "c", "d", "e"}), hash(hash(hash("ab") + hash("cd")) + "e"));
}

TEST(Manifest, ReadsBackWhatWasWritten) {
  Manifest manifest = sample();
  const std::string text = write_manifest(manifest);
  Manifest back = parse_manifest(text, "MANIFEST.json");
  EXPECT_EQ(back.hash, manifest.hash);
  EXPECT_EQ(back.hash.size(), 64u);
  EXPECT_EQ(back.run, manifest.run);
  EXPECT_EQ(back.step, 400);
  EXPECT_EQ(back.parent->step, 300);
  EXPECT_EQ(back.file(kModel).tensors[1].pieces.size(), 2u);
  EXPECT_EQ(back.file(kModel).tensors[0].dtype, DType::bf16);
  EXPECT_EQ(back.file(kModel).tensors[0].shape, (Shape{4, 256}));
  EXPECT_EQ(write_manifest(back), text);
  EXPECT_THROW(back.file("state.h5"), Error);

  manifest.parent.reset();
  EXPECT_FALSE(parse_manifest(write_manifest(manifest), "").parent.has_value());
}

// The rule that docs/checkpoints.md gives to third parties.
TEST(Manifest, ItsHashIsOfAllThatStandsBeforeTheLastLineButOne) {
  Manifest manifest = sample();
  const std::string text = write_manifest(manifest);
  EXPECT_EQ(hash(text.substr(0, text.rfind(" \"sha256\""))), manifest.hash);
  EXPECT_TRUE(text.ends_with("\n \"sha256\": \"" + manifest.hash + "\"\n}\n"));
}

TEST(Manifest, AnyChangedCutOrAddedByteIsRefused) {
  Manifest manifest = sample();
  const std::string text = write_manifest(manifest);
  for (size_t at = 0; at < text.size(); ++at) {
    std::string damaged = text;
    damaged[at] = char(damaged[at] ^ (1 << (at % 8)));
    EXPECT_THROW(parse_manifest(damaged, "M"), Error) << at;
    EXPECT_THROW(parse_manifest(text.substr(0, at), "M"), Error) << at;
  }
  EXPECT_THROW(parse_manifest(text + "\n", "M"), Error);
  EXPECT_THROW(parse_manifest(" " + text, "M"), Error);
}

struct Forgery {
  const char* from;
  const char* to;
  const char* message;
};
class Forged : public testing::TestWithParam<Forgery> {};

TEST_P(Forged, IsRefusedThoughItsHashHolds) {
  const auto& [from, to, message] = GetParam();
  EXPECT_THAT(
      [&] { parse_manifest(forged(from, to), "DIR/MANIFEST.json"); },
      ThrowsMessage<Error>(testing::AllOf(HasSubstr("DIR/MANIFEST.json"), HasSubstr(message))));
}

INSTANTIATE_TEST_SUITE_P(
    , Forged,
    testing::Values(
        Forgery{"limpid checkpoint 1", "limpid checkpoint 2", "this program reads"},
        Forgery{"\"model.h5\"", "\"../model.h5\"", "is not the name of a file in this folder"},
        Forgery{"\"model.h5\"", "\".ssh\"", "is not the name of a file in this folder"},
        Forgery{"\"offset\": 8192", "\"offset\": -8192", "lies outside the file"},
        Forgery{"\"offset\": 8192", "\"offset\": 4100", "in another tensor"},
        Forgery{"\"offset\": 8192", "\"offset\": 9000000000000000000", "lies outside the file"},
        Forgery{"26214400", "9223372036854775807", "has a shape of no use"},
        Forgery{"26214400", "0", "has a shape of no use"},
        Forgery{"26214400", "52428800", "another number of pieces"},
        Forgery{"\"bytes\": 209715200", "\"bytes\": -1", "has a size below 0"},
        Forgery{"\"step\": 400", "\"step\": \"400\"", "type must be number"},
        Forgery{"\"files\"", "\"file\"", "'files' not found"},
        Forgery{"\"name\": \"a\"", "\"name\": 7", "type must be string"}));

TEST(Manifest, RefusesPiecesThatDoNotGiveTheirRoot) {
  for (const char* piece : {"a", "b1", "r0"})
    EXPECT_THAT([&] { parse_manifest(forged(hash(piece), hash("other")), "M"); },
                ThrowsMessage<Error>(HasSubstr("does not have its root")));
}

TEST(Manifest, RandomForgeriesGiveAnErrorOrAManifest) {
  Manifest manifest = sample();
  const std::string text = write_manifest(manifest);
  const std::string body = text.substr(0, text.rfind(" \"sha256\""));
  const Random random(9, "forgeries");
  int refused = 0;
  constexpr int kTries = 3000;
  for (int i = 0; i < kTries; ++i) {
    std::string changed = body;
    for (uint64_t k = 0; k < 3; ++k) {
      const auto words = random.words(uint64_t(i) * 3 + k);
      const size_t at = words[0] % changed.size();
      if (words[1] % 2)
        changed[at] = char(words[2]);
      else
        changed.erase(at, words[2] % 40);
    }
    try {
      parse_manifest(changed + " \"sha256\": \"" + hash(changed) + "\"\n}\n", "M");
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, kTries / 2);
}

TEST(StepName, HoldsTheStepAndReadsBack) {
  EXPECT_EQ(step_name(400), "step-00000400");
  EXPECT_EQ(step_name(1234567890), "step-1234567890");
  EXPECT_EQ(step_of_name("step-00000400"), 400);
  EXPECT_EQ(step_of_name("step-1234567890"), 1234567890);
  for (const char* name : {"step-400", "step-", "step-0000040x", "step--0000400", ".tmp-400-ab",
                           "step-00000400.replaced-ab", "step-99999999999999999999"})
    EXPECT_EQ(step_of_name(name), std::nullopt) << name;
}

}  // namespace
}  // namespace limpid
