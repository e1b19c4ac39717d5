#include "checkpoint/tensorboard.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/hash.h"
#include "tests/support/temp_folder.h"

namespace limpid {
namespace {

std::string hex(const std::string& bytes) {
  return to_hex({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
}

// Records checked against TensorBoard's own code.
TEST(TensorBoard, WritesTheKnownRecords) {
  EXPECT_EQ(hex(version_event(1.0)),
            "1800000000000000a37f4b2209000000000000f03f1a0d627261696e2e4576656e743a3286bf577a");
  EXPECT_EQ(
      hex(scalar_event(2.0, 300, "loss", 2.5f)),
      "1b000000000000001a0d9e1309000000000000004010ac022a0d0a0b0a046c6f73731500002040de65814e");
}

// Event{wall_time = 2, step = 300, session_log{status = START}}: field 7 with the two bytes 08 01.
TEST(TensorBoard, AStartEventCarriesTheResumeStep) {
  const std::string record = start_event(2.0, 300);
  EXPECT_EQ(hex(record.substr(12, record.size() - 16)), "09000000000000004010ac023a020801");
}

TEST(TensorBoard, EachStartHasAFileOfItsOwn) {
  const TempFolder run;
  const Path folder = run / "tb";
  {
    TensorBoard first(real_disk(), folder, 0);
    first.scalar("loss", 1, 2.5);
  }
  TensorBoard second(real_disk(), folder, 300);
  const std::vector<std::string> names = list_folder(folder);
  ASSERT_EQ(names.size(), 2u);
  for (const std::string& name : names) {
    EXPECT_TRUE(name.starts_with("events.out.tfevents.")) << name;
    const std::string bytes = read_text(folder / name);
    EXPECT_EQ(bytes.substr(21, 1), "\x1a");  // the version, after the time
    EXPECT_NE(bytes.find("brain.Event:2"), std::string::npos);
  }
  const size_t version = version_event(0).size(), start = start_event(0, 0).size();
  const size_t scalar = scalar_event(0, 1, "loss", 0).size();
  EXPECT_EQ(
      std::filesystem::file_size(folder / names[0]) + std::filesystem::file_size(folder / names[1]),
      2 * version + start + start_event(0, 300).size() + scalar);
}

}  // namespace
}  // namespace limpid
