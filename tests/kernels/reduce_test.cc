#include "kernels/reduce.h"

#include <gmock/gmock.h>
#include <omp.h>

#include <cmath>

#include "core/random.h"
#include "tests/support/check_op.h"
#include "tests/support/on_device.h"

namespace limpid {
namespace {

template <class F>
double exact_sum(const std::vector<float>& x, F f) {
  long double sum = 0;
  for (float value : x) sum += f((long double)(value));
  return double(sum);
}
long double square(long double x) { return x * x; }
long double itself(long double x) { return x; }

std::vector<float> numbers(int64_t count) {
  std::vector<float> out;
  const Random random(3, "reduce");
  for (int64_t i = 0; i < count; ++i) out.push_back(float(random.normal(uint64_t(i))));
  return out;
}

class ReduceTest : public OnDevice {
 protected:
  double reduced(void (*op)(Stream&, Tensor, Tensor), Tensor x) {
    const Tensor out = put(std::vector<double>{-1});
    op(stream, out, x);
    return get<double>(out)[0];
  }
  std::vector<double> squares(const std::vector<Tensor>& xs) {
    const Tensor out = put(std::vector<double>(xs.size(), -1));
    sum_squares(stream, out, xs);
    return get<double>(out);
  }
};
INSTANTIATE_TEST_SUITE_P(, ReduceTest, testing::ValuesIn(kDevices), device_name);

TEST_P(ReduceTest, SumsOfAnyLength) {
  for (int64_t count : {0, 1, 3, 4095, 4096, 4097, 65536, 65537, 200000})
    for (int64_t shift : {0, 1}) {
      const std::vector<float> x = numbers(count);
      const Tensor there = put(x, DType::f32, shift);
      EXPECT_NEAR(reduced(sum, there), exact_sum(x, itself), 1e-10);
      EXPECT_NEAR(reduced(sum_squares, there), exact_sum(x, square), 1e-9);
    }
}

TEST_P(ReduceTest, SumsEveryFloatingDtype) {
  EXPECT_EQ(reduced(sum_squares, put(std::vector{bf16(1.5f), bf16(-3.0f)})), 11.25);
  std::vector<bf16> many;
  for (int i = 0; i < 5003; ++i) many.push_back(bf16(float(i % 7)));
  EXPECT_EQ(reduced(sum, put(many, DType::bf16, 3)), 714 * 21 + 0 + 1 + 2 + 3 + 4);
  if (!gpu()) {
    EXPECT_EQ(reduced(sum, put(std::vector{1e-300, 2.5, -1.0})), 1.5);
  }
}

// Blocks in one binary tree: 2^k blocks of two halves add up to the sum of the halves' sums.
TEST_P(ReduceTest, SumsBlocksInOneBinaryTree) {
  constexpr int64_t kBlocks = 37;
  // Blocks of about 2^60, x, -2^60, y ...: what is left of x and y shows the order.
  std::vector<float> values = numbers(4096 * kBlocks);
  for (size_t i = 0; i < values.size(); i += 8192) values[i] = i % 16384 ? -0x1p60f : 0x1p60f;
  const Tensor x = put(values);
  const auto part = [&](int64_t begin, int64_t end) {
    return reduced(sum, x.slice(4096 * begin, 4096 * end));
  };
  const auto node = [&](auto self, int64_t begin, int64_t end) -> double {
    if (end - begin == 1) return part(begin, end);
    const int64_t middle = (begin + end) / 2;
    return self(self, begin, middle) + self(self, middle, end);
  };
  EXPECT_EQ(part(0, 32), node(node, 0, 32));
  // 37 blocks are 32 and 4 and 1.
  EXPECT_EQ(part(0, 37), node(node, 0, 32) + (node(node, 32, 36) + part(36, 37)));
}

TEST_P(ReduceTest, AddsThousandsOfBlocks) {
  constexpr int64_t kHalf = 1024, kBlocks = kHalf + 33;
  std::vector<bf16> ones(kBlocks * 4096 + 5, bf16(1.0f));
  ones[kHalf * 4096] = bf16(0.5f);
  EXPECT_EQ(reduced(sum, put(ones)), kBlocks * 4096 + 4.5);
}

// More tensors than one launch takes, of two dtypes, some empty, some not on 16 bytes.
TEST_P(ReduceTest, SumsManyTensorsAsOneByOne) {
  std::vector<Tensor> xs;
  std::vector<double> alone;
  for (int64_t i = 0; i < 500; ++i) {
    const std::vector<float> x = numbers(i % 10 == 9 ? 9000 + i : i % 7);
    if (i / 240 == 1)
      xs.push_back(put(std::vector<bf16>(x.begin(), x.end()), DType::bf16, i % 3));
    else
      xs.push_back(put(x, DType::f32, i % 3));
    alone.push_back(reduced(sum_squares, xs.back()));
  }
  EXPECT_EQ(squares(xs), alone);
  EXPECT_GT(alone[9], 8000);
  EXPECT_EQ(alone[7], 0);
}

TEST_P(ReduceTest, NotANumberShows) {
  std::vector<float> x(10000, 1);
  x[9999] = NAN;
  EXPECT_TRUE(std::isnan(reduced(sum_squares, put(x))));
}

TEST(Reduce, BitsDoNotDependOnThreads) {
  std::vector<float> x = numbers(300001);
  Stream s;
  const int before = omp_get_max_threads();
  std::vector<double> sums;
  for (int threads : {1, 2, 3, 7}) {
    omp_set_num_threads(threads);
    sums.push_back(NAN);
    sum_squares(s, {&sums.back(), {1}, DType::f64}, {x.data(), {300001}, DType::f32});
  }
  omp_set_num_threads(before);
  EXPECT_THAT(sums, testing::Each(sums[0]));
}

using Digest = std::array<uint64_t, 2>;

class DigestTest : public OnDevice {
 protected:
  Digest digest_of(const std::vector<Digested>& parts, Digest before = {}) {
    const Tensor out = put(std::vector<uint64_t>(before.begin(), before.end()));
    digest(stream, out, parts);
    const auto sums = get<uint64_t>(out);
    return {sums[0], sums[1]};
  }
  Digest digest_of(Tensor x, uint64_t key, int64_t first_index, Digest before = {}) {
    return digest_of({{x, key, first_index}}, before);
  }
  template <class U>
  void check(DType dtype);
};
INSTANTIATE_TEST_SUITE_P(, DigestTest, testing::ValuesIn(kDevices), device_name);

// reduce.h's formula, element by element.
template <class U>
Digest expected(const std::vector<U>& bits, uint64_t key, uint64_t first_index) {
  Digest out = {};
  for (size_t i = 0; i < bits.size(); ++i) {
    uint64_t h = (key + (first_index + i) * 0x9e3779b97f4a7c15u) ^ bits[i];
    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9u;
    h = (h ^ (h >> 27)) * 0x94d049bb133111ebu;
    h = h ^ (h >> 31);
    out[0] += h;
    out[1] += h * ((h >> 32) | 1);
  }
  return out;
}

template <class U>
std::vector<U> any_bits(int64_t count) {
  std::vector<U> out;
  for (int64_t i = 0; i < count; ++i) out.push_back(U(mix64(uint64_t(i))));
  return out;
}

template <class U>
void DigestTest::check(DType dtype) {
  for (int64_t count : {0, 1, 7, 4096, 10001})
    for (int64_t shift : {0, 1}) {
      const std::vector<U> bits = any_bits<U>(count);
      EXPECT_EQ(digest_of(put(bits, dtype, shift), 77, 12345), expected(bits, 77, 12345))
          << to_string(dtype) << " x " << count;
    }
}

TEST_P(DigestTest, IsTheFormulaForEveryDtype) {
  check<uint8_t>(DType::u8);
  check<uint16_t>(DType::u16);
  check<uint16_t>(DType::bf16);
  check<uint32_t>(DType::u32);
  check<uint32_t>(DType::i32);
  check<uint32_t>(DType::f32);
  check<uint64_t>(DType::i64);
  check<uint64_t>(DType::u64);
  check<uint64_t>(DType::f64);
}

// So that a third party's implementation can be checked: 1.0, -2.5 and 0.0 in f32, key 1, index 0.
TEST_P(DigestTest, KnownAnswer) {
  EXPECT_EQ(digest_of(put(std::vector{1.0f, -2.5f, 0.0f}), 1, 0),
            (Digest{5008795013243985908u, 9715868519668021788u}));
}

TEST_P(DigestTest, PiecesAddUpToTheWholeInAnyOrder) {
  const Tensor x = put(numbers(50000));
  const Digest whole = digest_of(x, 9, 1000);
  Digest parts = {};
  for (auto [begin, end] : {std::pair{30000, 50000}, {0, 1}, {4097, 30000}, {1, 4097}})
    parts = digest_of(x.slice(begin, end), 9, 1000 + begin, parts);
  EXPECT_EQ(parts, whole);
}

TEST_P(DigestTest, AddsManyTensorsOfAnyDtype) {
  std::vector<Digested> all;
  Digest want = {5, 6};
  const auto add = [&](auto bits, DType dtype, uint64_t i) {
    all.push_back({put(bits, dtype), i, int64_t(7 * i)});
    const Digest one = expected(bits, i, 7 * i);
    want[0] += one[0], want[1] += one[1];
  };
  for (uint64_t i = 0; i < 300; ++i) {
    const int64_t count = i % 50 == 0 ? 30000 : int64_t(i % 9);
    i < 200 ? add(any_bits<uint16_t>(count), DType::bf16, i)
            : add(any_bits<uint32_t>(count), DType::f32, i);
  }
  EXPECT_EQ(digest_of(all, {5, 6}), want);
}

TEST_P(DigestTest, SeesBitsPlacesAndKeys) {
  std::vector<float> x(3000, 0.5f);
  const auto digest_of_x = [&](uint64_t key = 1, int64_t first = 0) {
    return digest_of(put(x), key, first);
  };
  const Digest before = digest_of_x();
  EXPECT_NE(digest_of_x(2), before);
  EXPECT_NE(digest_of_x(1, 1), before);
  x[7] = 0.0f;
  const Digest zero = digest_of_x();
  EXPECT_NE(zero, before);
  x[7] = -0.0f;
  EXPECT_NE(digest_of_x(), zero);
  std::swap(x[7], x[8]);
  const Digest swapped = digest_of_x();
  std::swap(x[7], x[8]);
  EXPECT_NE(digest_of_x(), swapped);
}

class ClipFactorTest : public OnDevice {
 protected:
  struct Result {
    double norm;
    float factor;
  };
  Result clipped(const std::vector<double>& squares, double loss, double limit) {
    const Tensor norm = put(std::vector<double>{-1}), factor = put(std::vector<float>{-1});
    clip_factor(stream, factor, norm, put(squares), put(std::vector{loss}), limit);
    return {get<double>(norm)[0], get<float>(factor)[0]};
  }
};
INSTANTIATE_TEST_SUITE_P(, ClipFactorTest, testing::ValuesIn(kDevices), device_name);

TEST_P(ClipFactorTest, BringsTheNormDownToTheLimit) {
  const Result above = clipped({9, 16}, 3.5, 2);
  EXPECT_EQ(above.norm, 5);
  EXPECT_EQ(above.factor, float(2 / (5 + 1e-6)));
  EXPECT_EQ(clipped({9, 16}, 3.5, 6).factor, 1);
  EXPECT_EQ(clipped({9, 16}, 3.5, 0).factor, 1);
  EXPECT_EQ(clipped({0, 0}, 0, 1).factor, 1);
  EXPECT_EQ(clipped({}, 0, 1).norm, 0);
}

TEST_P(ClipFactorTest, AddsSquaresInTheirOrder) {
  std::vector<double> squares;
  double total = 0;
  for (float value : numbers(100)) {
    squares.push_back(double(value) * double(value));
    total += squares.back();
  }
  EXPECT_EQ(clipped(squares, 0, 1).norm, std::sqrt(total));
}

TEST_P(ClipFactorTest, IsNotANumberWhereNoStepMustBeTaken) {
  for (double bad : {double(NAN), double(INFINITY)})
    for (double limit : {0.0, 1.0}) {
      EXPECT_TRUE(std::isnan(clipped({1, 2}, bad, limit).factor));
      EXPECT_EQ(clipped({1, 2}, bad, limit).norm, std::sqrt(3.0));
      EXPECT_TRUE(std::isnan(clipped({1, bad}, 1, limit).factor));
      EXPECT_FALSE(std::isfinite(clipped({1, bad}, 1, limit).norm));
    }
  EXPECT_TRUE(std::isnan(clipped({1}, -INFINITY, 1).factor));
}

TEST(ClipFactor, KeepsTheDigitsOfF64) {
  double factor = 0, norm = 0, squares = 9, loss = 1;
  Stream s;
  clip_factor(s, {&factor, {1}, DType::f64}, {&norm, {1}, DType::f64}, {&squares, {1}, DType::f64},
              {&loss, {1}, DType::f64}, 0.1);
  EXPECT_EQ(factor, 0.1 / (3 + 1e-6));
}

TEST(Reduce, RefusesWhatDoesNotFit) {
  Buffer memory(Device::cpu, 4096, "test");
  Stream s;
  const Tensor x = memory.tensor(0, {8}, DType::f32), one = memory.tensor(0, {1}, DType::f64);
  expect_error([&] { sum(s, x, x); }, "out is f32 (8), need 1 f64");
  expect_error([&] { sum(s, one, memory.tensor(0, {8}, DType::i32)); }, "i32");
  const std::vector<Tensor> two = {x, x};
  expect_error([&] { sum_squares(s, one, two); }, "out is f64 (1), need 2 f64");
  expect_error([&] { digest(s, memory.tensor(0, {1}, DType::u64), {}); }, "need 2 u64");
  expect_error([&] { clip_factor(s, x, one, one, one, 1); }, "factor is");
  expect_error([&] { clip_factor(s, one, x, one, one, 1); }, "norm is");
  expect_error([&] { clip_factor(s, one, one, x, one, 1); }, "squares is");
  expect_error([&] { clip_factor(s, one, one, one, x, 1); }, "loss is");
}

}  // namespace
}  // namespace limpid
