#include "checkpoint/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/hash.h"
#include "tests/support/fault_disk.h"
#include "tests/support/temp_folder.h"

namespace limpid {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

StepRecord record(int64_t step, const std::string& digest = "00ff") {
  return {.attempt = 0,
          .step = step,
          .tokens = 4096 * step,
          .first_sample = 8 * step - 8,
          .samples = 8,
          .loss = 1.0 / 3.0 * double(step),
          .lr = 6e-4,
          .grad_norm = 0.1,
          .seconds = 1.5,
          .skipped = step == 2,
          .digest = digest,
          .order_hash = "abcd"};
}

// A run's journal of three steps, a validation and an event.
class JournalTest : public testing::Test {
 protected:
  JournalTest() {
    Journal journal(real_disk(), run_.path());
    journal.event({0, 1.7e9, "start", "on \"host\"\n"});
    for (const int64_t step : {1, 2, 3}) journal.step(record(step));
    journal.validation({3, "held-out", 2.25, 9.4877});
    journal.sync();
  }
  Path file() const { return run_ / "journal.jsonl"; }
  std::string text() const { return read_text(file()); }
  void write(const std::string& bytes) {
    std::ofstream(file(), std::ios::binary | std::ios::trunc) << bytes;
  }

  TempFolder run_;
};

TEST_F(JournalTest, ReadsBackWhatWasWritten) {
  const JournalContents contents = read_journal(file());
  ASSERT_EQ(contents.steps.size(), 3u);
  for (const int64_t step : {1, 2, 3}) {
    StepRecord want = record(step);
    want.attempt = 1;
    EXPECT_EQ(contents.steps[size_t(step - 1)], want);
  }
  EXPECT_EQ(contents.validation, (std::vector<ValidationRecord>{{3, "held-out", 2.25, 9.4877}}));
  EXPECT_EQ(contents.events, (std::vector<Event>{{0, 1.7e9, "start", "on \"host\"\n"}}));
  EXPECT_EQ(contents.good_bytes, int64_t(text().size()));
}

TEST_F(JournalTest, EachLineIsAJsonObjectThatEndsInItsCrc) {
  std::istringstream lines(text());
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const auto json = nlohmann::json::parse(line);
    EXPECT_EQ(json["crc"], format("{:08x}", crc32c(line.substr(0, line.find(",\"crc\"")))));
  }
  EXPECT_EQ(count, 5);
}

TEST_F(JournalTest, ANumberThatIsNotFiniteIsNull) {
  StepRecord bad = record(4);
  bad.loss = std::numeric_limits<double>::quiet_NaN();
  bad.grad_norm = std::numeric_limits<double>::infinity();
  Journal(real_disk(), run_.path()).step(bad);
  EXPECT_THAT(text(), HasSubstr("\"loss\":null"));
  EXPECT_TRUE(std::isnan(read_journal(file()).steps[3].loss));
}

TEST_F(JournalTest, ATornLastLineIsCutOffWhereverItEnds) {
  const std::string whole = text();
  const size_t last = whole.rfind('\n', whole.size() - 2) + 1;
  for (size_t bytes = last; bytes < whole.size(); ++bytes) {
    write(whole.substr(0, bytes));
    Journal journal(real_disk(), run_.path());
    ASSERT_EQ(text(), whole.substr(0, last));
    EXPECT_EQ(journal.attempt(), 2);
    journal.validation({3, "held-out", 2.25, 9.4877});
    EXPECT_EQ(text(), whole);
  }
}

TEST_F(JournalTest, ALastLineThatACrashLeftAsZerosIsCutOff) {
  const std::string whole = text();
  write(whole + std::string(40, '\0') + "\n");
  Journal journal(real_disk(), run_.path());
  EXPECT_EQ(text(), whole);
}

TEST_F(JournalTest, AnyOtherDamageIsAnErrorThatNamesTheLine) {
  const std::string whole = text();
  int64_t line = 1;
  for (size_t at = 0; at + 1 < whole.size(); ++at) {
    if (whole[at] == '\n') {
      ++line;
      continue;  // two lines in one: the first of them is named
    }
    std::string damaged = whole;
    damaged[at] ^= 4;
    if (damaged[at] == '\n') continue;
    write(damaged);
    ASSERT_THAT([&] { Journal(real_disk(), run_.path()); },
                ThrowsMessage<Error>(HasSubstr(format("journal.jsonl: line {} is damaged", line))))
        << at;
    ASSERT_EQ(text(), damaged);
  }
}

TEST_F(JournalTest, JoinedDroppedAndBlankLinesAreDamage) {
  const std::string whole = text();
  std::string joined = whole;
  joined.erase(joined.find('\n'), 1);
  write(joined);
  EXPECT_THROW(read_journal(file()), Error);
  write("\n" + whole);
  EXPECT_THROW(read_journal(file()), Error);
}

TEST_F(JournalTest, EachStartIsAnAttemptAndStepsDoneAgainStay) {
  for (const int64_t attempt : {2, 3}) {
    Journal journal(real_disk(), run_.path());
    EXPECT_EQ(journal.attempt(), attempt);
    journal.step(record(3));
  }
  const JournalContents contents = read_journal(file());
  ASSERT_EQ(contents.steps.size(), 5u);
  EXPECT_EQ(contents.steps[3].attempt, 2);
  EXPECT_EQ(contents.steps[4].attempt, 3);
}

TEST_F(JournalTest, AStepDoneAgainWithAnotherDigestIsSaidOnce) {
  testing::internal::CaptureStderr();
  {
    Journal journal(real_disk(), run_.path());
    journal.step(record(2));
    journal.step(record(4, "ffff"));
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  testing::internal::CaptureStderr();
  Journal journal(real_disk(), run_.path());
  journal.step(record(2, "1234"));
  journal.step(record(3, "1234"));
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_THAT(said, HasSubstr("step 2 was done before with the digest 00ff, now it is 1234"));
  EXPECT_THAT(said, testing::Not(HasSubstr("step 3")));
}

TEST_F(JournalTest, AnAttemptThatOnlyStartedCounts) {
  Journal(real_disk(), run_.path()).event({3, 1.7e9, "start", ""});
  EXPECT_EQ(Journal(real_disk(), run_.path()).attempt(), 3);
}

// A write that fails half-way leaves a torn line, which the next one overwrites.
TEST_F(JournalTest, AFailedWriteIsAnErrorAndLeavesAGoodJournal) {
  FaultDisk disk;
  const std::string whole = text();
  Journal journal(disk, run_.path());
  disk.arm(FaultDisk::Kind::error, 0);
  EXPECT_THROW(journal.step(record(4)), Error);
  EXPECT_GT(text().size(), whole.size());
  EXPECT_EQ(read_journal(file()).steps.size(), 3u);
  journal.step(record(4));
  EXPECT_EQ(read_journal(file()).steps.size(), 4u);
}

}  // namespace
}  // namespace limpid
