#include "checkpoint/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "checkpoint/journal.h"
#include "checkpoint/save.h"
#include "core/hash.h"
#include "tests/support/sample_state.h"
#include "tests/support/temp_folder.h"

namespace limpid {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

// The account of steps first to last.
Account account_of(int64_t first, int64_t last) {
  Account account;
  for (int64_t step = first; step <= last; ++step) {
    account.metrics.push_back(sample_account(step).metrics[1]);
    account.order.step.push_back(step);
    account.order.epoch.push_back(0);
    account.order.window.push_back(step);
    account.order.corpus.push_back(0);
  }
  return account;
}

// A run with a journal and checkpoints of steps 2, 4 and 6.
class Verify : public testing::Test {
 protected:
  Verify() {
    Checkpoints checkpoints({}, run_.path());
    for (const int64_t step : {2, 4, 6})
      checkpoints.save(SampleState(uint64_t(step), step).get(), account_of(step - 1, step));
    Journal(real_disk(), run_.path()).step(sample_account(6).metrics[1]);
  }

  Path folder(int64_t step) const { return checkpoints_folder(run_.path()) / step_name(step); }

  std::vector<std::string> verify() const {
    return verify_run(run_.path(), [](const std::string&, const std::vector<std::string>&) {});
  }

  TempFolder run_;
};

void append(const Path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary | std::ios::app) << bytes;
}

TEST_F(Verify, AWholeRunHolds) {
  std::vector<std::string> names;
  EXPECT_THAT(verify_run(run_.path(),
                         [&](const std::string& name, const std::vector<std::string>& problems) {
                           names.push_back(name);
                           EXPECT_THAT(problems, ElementsAre());
                         }),
              ElementsAre());
  EXPECT_THAT(names, ElementsAre("step-00000002", "step-00000004", "step-00000006"));
}

TEST_F(Verify, NamesADamagedFile) {
  append(folder(4) / kOptimizer, "x");
  EXPECT_THAT(verify(), ElementsAre(AllOf(HasSubstr("step-00000004: "), HasSubstr(kOptimizer))));
}

TEST_F(Verify, NamesAFileThatTheManifestDoesNot) {
  append(folder(4) / "notes.txt", "x");
  EXPECT_THAT(verify(), ElementsAre("step-00000004: notes.txt: is not in the manifest"));
}

TEST_F(Verify, NamesAMissingLinkOfTheChain) {
  std::filesystem::remove_all(folder(4));
  EXPECT_THAT(verify(), ElementsAre("step-00000006: came about from step-00000004, which is "
                                    "missing"));
}

TEST_F(Verify, NamesAParentThatIsNotTheOneCitedThoughItIsWhole) {
  std::filesystem::remove_all(folder(2));
  Checkpoints({}, run_.path()).save(SampleState(9, 2).get(), account_of(1, 2));
  EXPECT_THAT(verify(), ElementsAre("step-00000004: came about from another step-00000002 than "
                                    "the one that stands here"));
}

TEST_F(Verify, NamesAStepWithoutRecordOrSamples) {
  Checkpoints checkpoints({}, run_.path());
  SampleState state(6);
  checkpoints.load(6, state.get());
  Account account = account_of(7, 10);
  account.metrics.erase(account.metrics.begin() + 1);
  account.order.step[3] = 9;
  state.get().step = 10;
  checkpoints.save(state.get(), account);
  EXPECT_THAT(verify(), ElementsAre("step-00000010: account.h5: the record of step 8 is missing",
                                    "step-00000010: account.h5: the samples of step 10 are "
                                    "missing"));
}

TEST_F(Verify, NamesADamagedJournalLine) {
  const std::string whole = read_text(run_ / "journal.jsonl");
  append(run_ / "journal.jsonl", "{}\n" + whole);
  EXPECT_THAT(verify(), ElementsAre(HasSubstr("journal.jsonl: line 2 is damaged")));
}

// A manifest made anew around a file whose own table says otherwise.
TEST_F(Verify, NamesATensorThatHdf5FindsElsewhere) {
  Manifest manifest = read_manifest(folder(6));
  ManifestTensor& tensor = manifest.files[0].tensors[0];
  std::swap(tensor.shape[0], tensor.shape[1]);
  std::ofstream(folder(6) / kManifestName, std::ios::binary | std::ios::trunc)
      << write_manifest(manifest);
  EXPECT_THAT(verify(), Contains(AllOf(HasSubstr("step-00000006: model.h5: tensor"),
                                       HasSubstr(", by the manifest"))));
}

}  // namespace
}  // namespace limpid
