#include "core/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "core/dtype.h"
#include "core/tensor.h"

namespace limpid {
namespace {

using testing::ThrowsMessage;

TEST(Format, TakesEveryKindOfValue) {
  EXPECT_EQ(format("{} {} {} {} {}", true, -3, uint64_t(7), 0.5, "text"), "true -3 7 0.5 text");
  EXPECT_EQ(format("{:.2f}|{:>4}|{:08d}", 1.0 / 3, "ab", 42), "0.33|  ab|00000042");
  EXPECT_EQ(format("{} {}", DType::bf16, Shape{2, 3}), "bf16 (2, 3)");
  EXPECT_EQ(format("{{}}"), "{}");
}

TEST(Require, ThrowsTheMessageUnlessOk) {
  EXPECT_NO_THROW(require(true, "w is {}", 3));
  EXPECT_THAT([] { require(false, "w is {}, need {}", 3, 4); },
              ThrowsMessage<Error>("w is 3, need 4"));
  EXPECT_THAT([] { fail("no {}", "way"); }, ThrowsMessage<Error>("no way"));
}

TEST(ErrnoText, NamesTheCause) {
  errno = ENOENT;
  EXPECT_EQ(errno_text(), ": No such file or directory");
}

}  // namespace
}  // namespace limpid
