#include "kernels/embedding.h"

#include "core/random.h"
#include "tests/reference/embedding.h"
#include "tests/support/check_op.h"
#include "tests/support/numbers.h"

namespace limpid {
namespace {

using EmbeddingTest = OpTest;
INSTANTIATE_TEST_SUITE_P(, EmbeddingTest, testing::ValuesIn(all_ops()), op_name);

// 3 samples of 37 tokens, many of them the same, over more columns than one thread takes.
constexpr int64_t kSamples = 3, kTokens = 37, kVocabulary = 11;

std::vector<double> tokens() {
  std::vector<double> out;
  for (int64_t i = 0; i < kSamples * kTokens; ++i) out.push_back(double(i * i % 7 + i % 5));
  return out;
}

TEST_P(EmbeddingTest, WithPositions) {
  for (int64_t C : {1, 20, 264, 300})
    check_op(GetParam(),
             {.inputs = {ids("tokens", {kSamples, kTokens}, tokens()),
                         weight("w", {kVocabulary, C}), weight("positions", {kTokens + 5, C})},
              .outputs = {activation("y", {kSamples, kTokens, C})},
              .reference =
                  [](auto& v) {
                    v["y"] = reference::embedding(v["tokens"], v["w"], &v["positions"], 3);
                  },
              .forward =
                  [](Stream& s, const Tensors& v) {
                    embedding_forward(s, v["y"], v["tokens"], v["w"], v["positions"], 3);
                  },
              .backward =
                  [](Stream& s, const Tensors& v) {
                    embedding_backward(s, v.d("w"), v.d("positions"), v.d("y"), v["tokens"], 3);
                  }});
}

TEST_P(EmbeddingTest, WithoutPositions) {
  check_op(
      GetParam(),
      {.inputs = {ids("tokens", {kSamples, kTokens}, tokens()), weight("w", {kVocabulary, 20})},
       .outputs = {activation("y", {kSamples, kTokens, 20})},
       .reference =
           [](auto& v) {
             v["y"] = reference::embedding(v["tokens"], v["w"], decltype (&v["w"])(nullptr), 0);
           },
       .forward =
           [](Stream& s, const Tensors& v) {
             embedding_forward(s, v["y"], v["tokens"], v["w"], {}, 0);
           },
       .backward =
           [](Stream& s, const Tensors& v) {
             embedding_backward(s, v.d("w"), {}, v.d("y"), v["tokens"], 0);
           }});
}

// Ids of three bytes, and one id that is most of the tokens: over a thousand.
TEST_P(EmbeddingTest, WithManyTokensOfALargeVocabulary) {
  constexpr int64_t kMany = 3000, kLarge = 66000, kCommon = 65537, C = 8;
  std::vector<double> list;
  for (int64_t i = 0; i < kMany; ++i)
    list.push_back(double(i % 5 < 2 ? kCommon : i * i % 997 * 66));
  check_op(GetParam(), {.inputs = {ids("tokens", {1, kMany}, list), weight("w", {kLarge, C})},
                        .outputs = {activation("y", {1, kMany, C})},
                        .reference =
                            [](auto& v) {
                              v["y"] = reference::embedding(v["tokens"], v["w"],
                                                            decltype (&v["w"])(nullptr), 0);
                            },
                        .forward =
                            [](Stream& s, const Tensors& v) {
                              embedding_forward(s, v["y"], v["tokens"], v["w"], {}, 0);
                            },
                        .backward =
                            [](Stream& s, const Tensors& v) {
                              embedding_backward(s, v.d("w"), {}, v.d("y"), v["tokens"], 0);
                            }});
}

using EmbeddingOn = testing::TestWithParam<Device>;
INSTANTIATE_TEST_SUITE_P(, EmbeddingOn, testing::Values(Device::cpu, Device::cuda),
                         [](const auto& device) { return to_string(device.param); });

// To the bit, for ids of two bytes and of three: every id has four tokens, so that none is in two
// of a GPU's parts of 32.
TEST_P(EmbeddingOn, SumsInTheOrderOfTheTokens) {
  constexpr int64_t kIds = 512, kRows = 4 * kIds, C = 4;
  Stream s(GetParam());
  for (int64_t step : {100, 131}) {
    std::vector<int32_t> list;
    std::vector<float> dy, want(size_t(kIds * step * C));
    const Random random(1, "dy");
    for (int64_t r = 0; r < kRows; ++r) {
      list.push_back(int32_t(r * 307 % kIds * step));
      for (int64_t c = 0; c < C; ++c) {
        dy.push_back(float(random.normal(uint64_t(r * C + c))));
        want[size_t(list.back() * C + c)] += dy.back();
      }
    }
    const Numbers tokens(s, list, {1, kRows});
    const Numbers gradient(s, dy, {1, kRows, C});
    const Numbers dw(s, std::vector<float>(want.size()), {kIds * step, C});
    embedding_backward(s, dw, {}, gradient, tokens, 0);
    EXPECT_EQ(dw.values(), want);
  }
}

TEST(Embedding, RefusesTokensAndPositionsOutside) {
  Buffer memory(Device::cpu, 4096, "test");
  std::array<int32_t, 4> list = {0, 9, 3, 1};
  const Tensor ids = {list.data(), {2, 2}, DType::i32};
  const Tensor y = memory.tensor(0, {2, 2, 4}, DType::f32),
               w = memory.tensor(0, {10, 4}, DType::f32);
  Stream s;
  embedding_forward(s, y, ids, w, {}, 0);
  list[1] = 10;
  expect_error([&] { embedding_forward(s, y, ids, w, {}, 0); }, "tokens hold 10, outside [0, 10)");
  list[1] = -1;
  expect_error([&] { embedding_backward(s, w, {}, y, ids, 0); }, "tokens hold -1");
  list[1] = 1;
  expect_error([&] { embedding_forward(s, y, ids, w, w, 9); }, "positions 9 to 11");
  expect_error(
      [&] {
        embedding_forward(s, y, ids, w, memory.tensor(0, {9, 3}, DType::f32), 0);
      },
      "positions are");
  expect_error([&] { embedding_forward(s, w, ids, w, {}, 0); }, "y is");
  expect_error(
      [&] {
        embedding_forward(s, y, memory.tensor(0, {2, 2}, DType::u16), w, {}, 0);
      },
      "need i32");
}

}  // namespace
}  // namespace limpid
