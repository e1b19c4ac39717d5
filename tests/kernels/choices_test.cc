#include "kernels/choices.h"

#include <gtest/gtest.h>

#include "core/cuda.h"

namespace limpid {
namespace {

TEST(Choices, OfTheCpuAreNone) {
  Stream stream;
  set_kernel_choices(stream, "anything");
  EXPECT_EQ(kernel_choices(stream), "");
}

TEST(Choices, OfOneStreamServeAnother) {
  if (!cuda::available()) GTEST_SKIP() << "no GPU can be used here";
  Stream first(Device::cuda), second(Device::cuda);
  const std::string text = kernel_choices(first) + "an op = a way\nanother op = another way\n";
  set_kernel_choices(second, text);
  EXPECT_EQ(kernel_choices(second), text);
  EXPECT_NE(kernel_choices(first), text);
  set_kernel_choices(second, "");
  EXPECT_EQ(kernel_choices(second), text);
}

TEST(Choices, OfAnotherGpuArePassedOver) {
  if (!cuda::available()) GTEST_SKIP() << "no GPU can be used here";
  Stream stream(Device::cuda);
  const std::string before = kernel_choices(stream);
  set_kernel_choices(stream, "another GPU\nan op = a way\n");
  EXPECT_EQ(kernel_choices(stream), before);
}

}  // namespace
}  // namespace limpid
