#include "checkpoint/load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <cstring>
#include <fstream>

#include "checkpoint/save.h"
#include "core/random.h"
#include "tests/support/sample_state.h"
#include "tests/support/temp_folder.h"

namespace limpid {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr std::array kFiles = {kModel, kOptimizer, kAccount, kManifestName};

// A run with checkpoints of steps 10 and 20; tests damage the newer.
class Damage : public testing::Test {
 protected:
  Damage() {
    checkpoints_.save(SampleState(1, 10).get(), sample_account(10));
    checkpoints_.save(SampleState(2, 20).get(), sample_account(20));
  }

  Path file(const std::string& name) const { return checkpoints_.folder(20) / name; }

  // The damage is found, refused and passed over, and named.
  void expect_refused(const std::string& name) {
    EXPECT_THAT(find_damage(checkpoints_.folder(20)), Contains(HasSubstr(name)));
    EXPECT_THAT([&] { checkpoints_.load(20, back_.get()); }, ThrowsMessage<Error>(HasSubstr(name)));
    EXPECT_EQ(checkpoints_.newest_verified(), 10);
    EXPECT_EQ(checkpoints_.load_newest(back_.get()), 10);
    EXPECT_EQ(back_.bytes(), SampleState(1).bytes());
  }

  TempFolder run_;
  Checkpoints checkpoints_{{}, run_.path()};
  SampleState back_{3};
};

void write_file(const Path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

void flip_bit(const Path& path, int64_t bit) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(bit / 8);
  const char byte = char(file.get() ^ (1 << (bit % 8)));
  file.seekp(bit / 8);
  file.put(byte);
}

// The name of the tensor that a byte of a file belongs to, or nothing.
std::string tensor_at(const Manifest& manifest, const std::string& name, int64_t offset) {
  if (name == kManifestName) return "";
  for (const ManifestTensor& tensor : manifest.file(name).tensors)
    if (offset >= tensor.offset && offset < tensor.offset + tensor.bytes())
      return "tensor " + tensor.name + ":";
  return "";
}

TEST_F(Damage, AFlippedBitAnywhereIsRefusedByFileAndTensor) {
  const Random random(5, "flips");
  const Manifest manifest = read_manifest(checkpoints_.folder(20));
  int in_tensors = 0;
  for (uint64_t i = 0; i < 200; ++i) {
    const std::string name = kFiles[i % kFiles.size()];
    const int64_t bits = 8 * int64_t(std::filesystem::file_size(file(name)));
    const int64_t bit = int64_t(random.uniform(i) * double(bits));
    flip_bit(file(name), bit);
    const std::string tensor = tensor_at(manifest, name, bit / 8);
    in_tensors += !tensor.empty();
    EXPECT_THAT(find_damage(checkpoints_.folder(20)),
                ElementsAre(AllOf(HasSubstr(name), HasSubstr(tensor))))
        << "bit " << bit;
    EXPECT_THAT([&] { checkpoints_.load(20, back_.get()); },
                ThrowsMessage<Error>(AllOf(HasSubstr(name), HasSubstr(tensor))));
    if (i % 10 == 0) expect_refused(name);
    flip_bit(file(name), bit);
  }
  EXPECT_GT(in_tensors, 10);
  EXPECT_EQ(checkpoints_.newest_verified(), 20);
}

TEST_F(Damage, ATruncatedFileIsRefused) {
  for (const char* name : kFiles) {
    const std::string whole = read_text(file(name));
    for (const size_t bytes : {size_t(0), size_t(1), whole.size() / 2, whole.size() - 1}) {
      write_file(file(name), whole.substr(0, bytes));
      expect_refused(name);
    }
    write_file(file(name), whole + '\0');
    expect_refused(name);
    write_file(file(name), whole);
  }
  EXPECT_EQ(checkpoints_.newest_verified(), 20);
}

TEST_F(Damage, AMissingFileOrAnotherThingInItsPlaceIsRefused) {
  for (const char* name : kFiles) {
    const Path aside = run_ / "aside";
    std::filesystem::rename(file(name), aside);
    expect_refused(name);
    std::filesystem::create_directory(file(name));
    expect_refused(name);
    std::filesystem::remove(file(name));
    ASSERT_EQ(mkfifo(file(name).c_str(), 0600), 0);
    expect_refused(name);
    std::filesystem::remove(file(name));
    std::filesystem::rename(aside, file(name));
  }
  EXPECT_EQ(checkpoints_.newest_verified(), 20);
}

TEST_F(Damage, AFileOfAnotherStepOrRunIsRefused) {
  const TempFolder other_run;
  Checkpoints other({}, other_run.path());
  other.save(SampleState(7, 20).get(), sample_account(20));
  for (const Path& from : {checkpoints_.folder(10), other.folder(20)})
    for (const char* name : {kModel, kOptimizer}) {
      const std::string whole = read_text(file(name));
      write_file(file(name), read_text(from / name));
      expect_refused(name);
      write_file(file(name), whole);
    }
  // The account of the same step of the other run has the same bytes; only the manifest tells.
  write_file(file(kAccount), read_text(checkpoints_.folder(10) / kAccount));
  expect_refused(kAccount);
}

TEST_F(Damage, ACheckpointOfAnotherRunIsRefusedThoughItIsWhole) {
  const TempFolder other_run;
  Checkpoints other({}, other_run.path());
  other.save(SampleState(7, 20).get(), sample_account(20));
  std::filesystem::remove_all(checkpoints_.folder(20));
  std::filesystem::copy(other.folder(20), checkpoints_.folder(20));
  EXPECT_THAT(find_damage(checkpoints_.folder(20)), ElementsAre());
  EXPECT_THAT([&] { checkpoints_.load(20, back_.get()); },
              ThrowsMessage<Error>(AllOf(HasSubstr("is of the run " + other.run_id()),
                                         HasSubstr("this one is " + checkpoints_.run_id()))));
  EXPECT_EQ(checkpoints_.newest_verified(), 10);
  EXPECT_EQ(checkpoints_.load_newest(back_.get()), 10);
}

TEST_F(Damage, AFolderUnderAnotherStepsNameIsRefused) {
  std::filesystem::rename(checkpoints_.folder(20), checkpoints_.folder(30));
  EXPECT_THAT([&] { checkpoints_.load(30, back_.get()); },
              ThrowsMessage<Error>(HasSubstr("is of step 20, but lies in step-00000030")));
  EXPECT_EQ(checkpoints_.load_newest(back_.get()), 10);
}

TEST_F(Damage, WithNoWholeCheckpointNothingIsFound) {
  for (const int64_t step : {10, 20}) flip_bit(checkpoints_.folder(step) / kModel, 12345);
  EXPECT_EQ(checkpoints_.newest_verified(), std::nullopt);
  EXPECT_EQ(checkpoints_.load_newest(back_.get()), std::nullopt);
}

TEST_F(Damage, AReaderTakesOneTensorAndChecksIt) {
  const CheckpointReader reader(checkpoints_.folder(20));
  SampleState state(2);
  const std::span model(back_.get().model);
  const NamedTensor truth = state.get().model[3];
  reader.read_some(kModel, model.subspan(3, 1));
  EXPECT_EQ(std::memcmp(model[3].tensor.data, truth.tensor.data, size_t(truth.tensor.bytes())), 0);

  const Manifest& manifest = reader.manifest();
  const auto& tensors = manifest.file(kModel).tensors;
  flip_bit(file(kModel), 8 * tensors[0].offset);
  EXPECT_EQ(tensors[0].name, "embedding.weight");
  EXPECT_NO_THROW(reader.read_some(kModel, model.subspan(3, 1)));
  EXPECT_THAT([&] { reader.read_some(kModel, model.first(1)); },
              ThrowsMessage<Error>(HasSubstr("tensor embedding.weight")));
}

TEST_F(Damage, TheAccountReadsBackAsItWasWritten) {
  const CheckpointReader reader(checkpoints_.folder(20));
  const Account account = sample_account(20);
  EXPECT_EQ(reader.recipe(), account.recipe);
  EXPECT_EQ(reader.config_json(), account.config_json);
  EXPECT_EQ(reader.tokenizer(), account.tokenizer);
  EXPECT_EQ(reader.data_json(), account.data_json);
  EXPECT_EQ(reader.environment_json(), account.environment_json);
  EXPECT_EQ(reader.order(), account.order);
  EXPECT_EQ(reader.metrics(), account.metrics);
  EXPECT_EQ(reader.validation(), account.validation);
  EXPECT_EQ(reader.events(), account.events);
  EXPECT_EQ(reader.counters(), SampleState(2, 20).get().counters);
}

TEST(CheckpointReader, AnEmptyAccountReadsBackEmpty) {
  const TempFolder run;
  Checkpoints checkpoints({}, run.path());
  SampleState state(1, 0);
  state.get().counters.clear();
  state.get().optimizer.clear();
  checkpoints.save(state.get(), {});
  const CheckpointReader reader(checkpoints.folder(0));
  EXPECT_EQ(reader.tokenizer(), "");
  EXPECT_EQ(reader.order(), OrderLog{});
  EXPECT_TRUE(reader.metrics().empty());
  EXPECT_TRUE(reader.counters().empty());
  EXPECT_THAT(reader.differences(kOptimizer, {}), ElementsAre());
}

}  // namespace
}  // namespace limpid
