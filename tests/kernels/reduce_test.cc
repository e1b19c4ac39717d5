#include "kernels/reduce.h"

#include <omp.h>

#include <numeric>

#include "core/random.h"
#include "tests/support/check_op.h"

namespace limpid {
namespace {

template <class F>
long double exact_sum(const std::vector<float>& x, F f) {
  long double sum = 0;
  for (float value : x) sum += f((long double)(value));
  return sum;
}

std::vector<float> numbers(int64_t count) {
  std::vector<float> out;
  const Random random(3, "reduce");
  for (int64_t i = 0; i < count; ++i) out.push_back(float(random.normal(uint64_t(i))));
  return out;
}

Tensor tensor(std::vector<float>& x, int64_t begin = 0, int64_t end = -1) {
  return {x.data() + begin, {(end < 0 ? int64_t(x.size()) : end) - begin}, DType::f32};
}

double reduced(void (*op)(Stream&, Tensor, Tensor), Tensor x) {
  double out = NAN;
  Stream s;
  op(s, {&out, {1}, DType::f64}, x);
  return out;
}

TEST(Reduce, SumsOfAnyLength) {
  for (int64_t count : {0, 1, 3, 4095, 4096, 4097, 65536, 65537, 200000}) {
    std::vector<float> x = numbers(count);
    EXPECT_NEAR(reduced(sum, tensor(x)), double(exact_sum(x, [](auto v) { return v; })), 1e-10);
    EXPECT_NEAR(reduced(sum_squares, tensor(x)), double(exact_sum(x, [](auto v) { return v * v; })),
                1e-9);
  }
}

TEST(Reduce, SumsEveryFloatingDtype) {
  std::vector<bf16> half = {bf16(1.5f), bf16(-3.0f)};
  std::vector<double> full = {1e-300, 2.5, -1};
  EXPECT_EQ(reduced(sum_squares, {half.data(), {2}, DType::bf16}), 11.25);
  EXPECT_EQ(reduced(sum, {full.data(), {3}, DType::f64}), 1.5);
}

// Blocks in one binary tree: 2^k blocks of two halves add up to the sum of the halves' sums.
TEST(Reduce, SumsBlocksInOneBinaryTree) {
  std::vector<float> x = numbers(4096 * 64);
  const auto node = [&](auto self, int64_t begin, int64_t end) -> double {
    if (end - begin == 4096) return reduced(sum, tensor(x, begin, end));
    const int64_t middle = (begin + end) / 2;
    return self(self, begin, middle) + self(self, middle, end);
  };
  EXPECT_EQ(reduced(sum, tensor(x)), node(node, 0, int64_t(x.size())));
  // 37 blocks are 32 and 4 and 1.
  const double left = node(node, 0, 32 * 4096), right = node(node, 32 * 4096, 36 * 4096);
  const double last = reduced(sum, tensor(x, 36 * 4096, 37 * 4096));
  EXPECT_EQ(reduced(sum, tensor(x, 0, 37 * 4096)), left + (right + last));
}

TEST(Reduce, BitsDoNotDependOnThreads) {
  std::vector<float> x = numbers(300001);
  const int before = omp_get_max_threads();
  std::vector<double> sums;
  for (int threads : {1, 2, 3, 7}) {
    omp_set_num_threads(threads);
    sums.push_back(reduced(sum_squares, tensor(x)));
  }
  omp_set_num_threads(before);
  EXPECT_THAT(sums, testing::Each(sums[0]));
}

TEST(Reduce, NotANumberShows) {
  std::vector<float> x(10000, 1);
  x[9999] = NAN;
  EXPECT_TRUE(std::isnan(reduced(sum_squares, tensor(x))));
}

using Digest = std::array<uint64_t, 2>;

Digest digest_of(Tensor x, uint64_t key, int64_t first_index, Digest before = {}) {
  Stream s;
  digest(s, {before.data(), {2}, DType::u64}, x, key, first_index);
  return before;
}

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
void check_digest(DType dtype) {
  for (int64_t count : {0, 1, 7, 4096, 10001}) {
    std::vector<U> bits;
    for (int64_t i = 0; i < count; ++i) bits.push_back(U(mix64(uint64_t(i))));
    EXPECT_EQ(digest_of({bits.data(), {count}, dtype}, 77, 12345), expected(bits, 77, 12345))
        << to_string(dtype) << " x " << count;
  }
}

TEST(Digest, IsTheFormulaForEveryDtype) {
  check_digest<uint8_t>(DType::u8);
  check_digest<uint16_t>(DType::u16);
  check_digest<uint16_t>(DType::bf16);
  check_digest<uint32_t>(DType::u32);
  check_digest<uint32_t>(DType::i32);
  check_digest<uint32_t>(DType::f32);
  check_digest<uint64_t>(DType::i64);
  check_digest<uint64_t>(DType::u64);
  check_digest<uint64_t>(DType::f64);
}

// So that a third party's implementation can be checked: 1.0, -2.5 and 0.0 in f32, key 1, index 0.
TEST(Digest, KnownAnswer) {
  std::vector<float> x = {1.0f, -2.5f, 0.0f};
  EXPECT_EQ(digest_of(tensor(x), 1, 0), (Digest{5008795013243985908u, 9715868519668021788u}));
}

TEST(Digest, PiecesAddUpToTheWholeInAnyOrder) {
  std::vector<float> x = numbers(50000);
  const Digest whole = digest_of(tensor(x), 9, 1000);
  Digest parts = {};
  for (auto [begin, end] : {std::pair{30000, 50000}, {0, 1}, {4097, 30000}, {1, 4097}})
    parts = digest_of(tensor(x, begin, end), 9, 1000 + begin, parts);
  EXPECT_EQ(parts, whole);
}

TEST(Digest, SeesBitsPlacesAndKeys) {
  std::vector<float> x(3000, 0.5f);
  const Digest before = digest_of(tensor(x), 1, 0);
  EXPECT_NE(digest_of(tensor(x), 2, 0), before);
  EXPECT_NE(digest_of(tensor(x), 1, 1), before);
  x[7] = 0.0f;
  const Digest zero = digest_of(tensor(x), 1, 0);
  EXPECT_NE(zero, before);
  x[7] = -0.0f;
  EXPECT_NE(digest_of(tensor(x), 1, 0), zero);
  std::swap(x[7], x[8]);
  const Digest swapped = digest_of(tensor(x), 1, 0);
  std::swap(x[7], x[8]);
  EXPECT_NE(digest_of(tensor(x), 1, 0), swapped);
}

TEST(Reduce, RefusesWhatDoesNotFit) {
  Buffer memory(Device::cpu, 4096, "test");
  Stream s;
  const Tensor x = memory.tensor(0, {8}, DType::f32);
  expect_error([&] { sum(s, x, x); }, "out is f32 (8), need 1 f64");
  expect_error(
      [&] { sum(s, memory.tensor(0, {1}, DType::f64), memory.tensor(0, {8}, DType::i32)); }, "i32");
  expect_error([&] { digest(s, memory.tensor(0, {1}, DType::u64), x, 0, 0); }, "need 2 u64");
}

}  // namespace
}  // namespace limpid
