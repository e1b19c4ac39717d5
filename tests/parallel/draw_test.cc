#include "parallel/draw.h"

#include <gmock/gmock.h>

namespace limpid {
namespace {

TEST(Draw, ALineAStage) {
  EXPECT_EQ(draw(simulate(one_f_one_b(2, 2), Times{})),
            "stage 0   F0 F1 ......B0--- ...B1---  idle 33.3%\n"
            "stage 1   ...F0 B0--- F1 B1--- ...... idle 33.3%\n");
}

TEST(Draw, HalvesOfBackward) {
  EXPECT_EQ(draw(simulate(zero_bubble_h1(2, 2), Times{})),
            "stage 0   F0 F1 ...B0 W0 B1 W1  idle 14.3%\n"
            "stage 1   ...F0 B0 F1 B1 W0 W1  idle 14.3%\n");
}

TEST(Draw, ChunksAreLetters) {
  const std::string text = draw(simulate(interleaved(2, 2, 2), Times{}));
  EXPECT_THAT(text, testing::HasSubstr("F0a F1a F0b F1b "));
  EXPECT_THAT(text, testing::HasSubstr("B0a---- B1a---- "));
}

TEST(Draw, TransfersAreIdleTime) {
  EXPECT_EQ(draw(simulate(gpipe(2, 1), Times{.transfer = 1})),
            "stage 0   F0 ...............B0---  idle 62.5%\n"
            "stage 1   ......F0 B0--- ......... idle 62.5%\n");
}

TEST(Draw, WidthMayBeGiven) {
  const std::string text = draw(simulate(gpipe(4, 12), Times{}), 60);
  size_t lines = 0;
  for (size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1, ++lines)
    EXPECT_EQ(end - at, std::string("stage 0   ").size() + 60 + std::string(" idle 20.0%").size());
  EXPECT_EQ(lines, 4u);
}

}  // namespace
}  // namespace limpid
