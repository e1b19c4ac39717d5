#include "core/tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace limpid {
namespace {

TEST(Shape, CountsAndIndexesFromBothEnds) {
  const Shape shape = {2, 3, 64};
  EXPECT_EQ(shape.rank(), 3);
  EXPECT_EQ(shape.numel(), 384);
  EXPECT_EQ(shape[0], 2);
  EXPECT_EQ(shape[-1], 64);
  EXPECT_EQ(to_string(shape), "(2, 3, 64)");
  EXPECT_EQ(Shape().numel(), 1);
  EXPECT_NE(shape, (Shape{2, 3}));
  EXPECT_THROW((Shape{1, 2, 3, 4, 5, 6}), Error);
  Shape full = {1, 2, 3, 4, 5};
  EXPECT_THROW(full.append(6), Error);
}

TEST(Tensor, ViewsOfOneMemory) {
  std::vector<float> values(24);
  for (size_t i = 0; i < values.size(); ++i) values[i] = float(i);
  const Tensor tensor{values.data(), {2, 3, 4}, DType::f32};
  EXPECT_EQ(tensor.bytes(), 96);
  EXPECT_EQ(tensor.rows(), 6);
  EXPECT_EQ(tensor.cols(), 4);
  EXPECT_EQ(tensor.matrix<float>()(5, 1), 21);
  EXPECT_EQ(tensor.slice(1, 2).as<float>()[0], 12);
  EXPECT_EQ(tensor.slice(1, 2).shape, (Shape{1, 3, 4}));
  EXPECT_EQ(tensor.slice(1, 1).numel(), 0);
  EXPECT_EQ(tensor.reshape({4, 6}).matrix<float>()(3, 5), 23);
  EXPECT_THROW(tensor.reshape({5, 5}), Error);
  EXPECT_FALSE(bool(Tensor{}));
}

TEST(RequireTensor, NamesWhatIsNeeded) {
  float value = 0;
  const Tensor tensor{&value, {1}, DType::f32};
  EXPECT_NO_THROW(require_tensor(tensor, DType::f32, {1}, "w"));
  try {
    require_tensor(tensor, DType::bf16, {2}, "w");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "w is f32 (1), need bf16 (2)");
  }
}

TEST(DType, NamesReadBackAndSizesHold) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f64, DType::u8, DType::u16, DType::i32,
                            DType::u32, DType::i64, DType::u64})
    EXPECT_EQ(dtype_from(to_string(dtype)), dtype);
  EXPECT_EQ(size_of(DType::bf16), 2);
  EXPECT_EQ(size_of(DType::u64), 8);
  EXPECT_THROW(dtype_from("f16"), Error);
  EXPECT_THROW(with_dtype(DType::u8, []<class T>() {}), Error);
}

// Against the definition: of the two neighbours the nearer, of equally near ones the even.
TEST(Bf16, RoundsToNearestEvenOverAllUpperHalves) {
  for (uint32_t upper = 0; upper < 0x7f7f; ++upper) {
    for (const uint32_t lower : {0u, 1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      const uint32_t up = lower > 0x8000 || (lower == 0x8000 && upper % 2);
      const float value = std::bit_cast<float>(upper << 16 | lower);
      ASSERT_EQ(bf16(value).bits, upper + up);
      ASSERT_EQ(bf16(-value).bits, (upper + up) | 0x8000);
    }
  }
  EXPECT_EQ(float(bf16(1.0f)), 1.0f);
  EXPECT_TRUE(std::isnan(float(bf16(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_TRUE(std::isnan(float(bf16(std::bit_cast<float>(0x7f800001u)))));
  EXPECT_EQ(float(bf16(std::numeric_limits<float>::infinity())),
            std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isinf(float(bf16(std::numeric_limits<float>::max()))));
}

}  // namespace
}  // namespace limpid
