#include "kernels/attention.h"

#include <cstring>
#include <span>

#include "tests/reference/attention.h"
#include "tests/support/check_op.h"

namespace limpid {
namespace {

using AttentionTest = OpTest;
INSTANTIATE_TEST_SUITE_P(, AttentionTest, testing::ValuesIn(all_ops()), op_name);

struct Sizes {
  int64_t B, T, H, K, D;
  int64_t rows() const { return B * T; }
  Shape qkv() const { return {B, T, H + 2 * K, D}; }
  Shape out() const { return {B, T, H, D}; }
};
// One token, grouped heads, all heads on one key, and more tokens than any block, unevenly so.
const std::vector<Sizes> kSizes = {{1, 1, 1, 1, 1},  {2, 7, 4, 2, 8},   {1, 19, 3, 3, 5},
                                   {1, 48, 2, 1, 4}, {1, 101, 4, 1, 6}, {1, 49, 1, 1, 64}};
// On a GPU: more rows than a tile and than a block; in bf16, of heads as wide as tiles too.
const std::vector<Sizes> kGpuSizes = {
    {1, 1, 1, 1, 1}, {2, 7, 4, 2, 8}, {1, 67, 2, 1, 5}, {1, 130, 2, 1, 64}, {1, 161, 1, 1, 128}};
std::span<const Sizes> sizes_of(const Op& op) {
  if (op.device == Device::cpu) return kSizes;
  return std::span(kGpuSizes).first(op.dtype == DType::bf16 ? 5 : 3);
}

Attention attention_of(const Sizes& n, float dropout) {
  return {.heads = n.H,
          .kv_heads = n.K,
          .scale = 1 / std::sqrt(float(n.D)),
          .dropout = dropout,
          .mask = Random(4, "attention", 9),
          .first_sample = 3};
}

// What dropout multiplies a probability by, from the words of the mask one by one.
struct Factor {
  Attention how;
  int64_t T;
  double operator()(int64_t b, int64_t h, int64_t row, int64_t column) const {
    if (how.dropout == 0) return 1;
    const int64_t head = (how.first_sample + b) * how.heads + h;
    const uint64_t word = uint64_t((head * T + row) * T + column);
    const bool kept = how.mask.words(word / 4)[word % 4] >= uint32_t(how.dropout * 0x1p32);
    return kept ? 1 / (1 - double(how.dropout)) : 0;
  }
};

// starts: the document_start of each row, or empty for none.
OpCase attention_case(const Sizes& n, const std::vector<double>& starts, float dropout) {
  const Attention how = attention_of(n, dropout);
  const bool documents = !starts.empty();
  const std::vector<double> zeros(size_t(n.rows()), 0);
  return {
      .inputs = {activation("qkv", n.qkv()), ids("start", {n.B, n.T}, documents ? starts : zeros)},
      .outputs = {activation("o", n.out())},
      .saved = {state("lse", {n.B, n.H, n.T})},
      .reference =
          [=](auto& v) {
            v["o"] =
                reference::attention(v["qkv"], v["start"], {n.H, n.K, how.scale}, Factor{how, n.T});
          },
      .forward =
          [=](Stream& s, const Tensors& v) {
            attention_forward(s, v["o"], v["lse"], v["qkv"], documents ? v["start"] : Tensor{},
                              how);
          },
      .backward =
          [=](Stream& s, const Tensors& v) {
            attention_backward(s, v.d("qkv"), v.d("o"), v["o"], v["lse"], v["qkv"],
                               documents ? v["start"] : Tensor{}, how);
          },
      .slack = 2,
      .least = n.T == 1 ? 1.0 : 0.0};
}

// Documents of 1, 2, 3 ... tokens, the longest cut by the end of the sample.
std::vector<double> document_starts(const Sizes& n) {
  std::vector<double> out;
  for (int64_t b = 0; b < n.B; ++b)
    for (int64_t t = 0, start = 0, length = 1 + 11 * b; t < n.T; ++t) {
      if (t == start + length) start = t, length = 2 * length + 1;
      out.push_back(double(start));
    }
  return out;
}

TEST_P(AttentionTest, Causal) {
  for (const Sizes& n : sizes_of(GetParam())) {
    SCOPED_TRACE(to_string(n.qkv()));
    check_op(GetParam(), attention_case(n, {}, 0));
  }
}

TEST_P(AttentionTest, WithinDocuments) {
  for (const Sizes& n : sizes_of(GetParam())) {
    SCOPED_TRACE(to_string(n.qkv()));
    check_op(GetParam(), attention_case(n, document_starts(n), 0));
  }
}

TEST_P(AttentionTest, WithDropout) {
  for (const Sizes& n : sizes_of(GetParam())) {
    SCOPED_TRACE(to_string(n.qkv()));
    check_op(GetParam(), attention_case(n, {}, 0.25f));
  }
  check_op(GetParam(), attention_case(kSizes[1], document_starts(kSizes[1]), 0.5f));
}

// Tiles are as wide as the next of 32, 64, 96, 128 and 256 columns, or f32 where 8 does not divide.
TEST_P(AttentionTest, HeadsOfAnyWidth) {
  for (int64_t D : {24, 40, 72, 100, 136, 132}) {
    if (GetParam().device == Device::cpu && D > 40) break;
    SCOPED_TRACE(D);
    check_op(GetParam(), attention_case({1, 50, 1, 1, D}, {}, D == 136 ? 0.25f : 0));
  }
}

// Documents that begin and end within tiles, between them, and tiles ahead.
TEST_P(AttentionTest, DocumentsAndDropoutAcrossTiles) {
  if (GetParam().device == Device::cpu) GTEST_SKIP() << "the tests above have its blocks";
  const Sizes n = {1, 270, 2, 2, GetParam().dtype == DType::bf16 ? 64 : 8};
  check_op(GetParam(), attention_case(n, document_starts(n), 0.25f));
}

// Scores of thousands: a row is all on one column, and nothing overflows.
TEST_P(AttentionTest, SharpScores) {
  if (GetParam().dtype == DType::bf16) GTEST_SKIP() << "such scores need more digits";
  OpCase op_case = attention_case({1, 60, 2, 1, 8}, {}, 0);
  op_case.forward = [](Stream& s, const Tensors& v) {
    attention_forward(s, v["o"], v["lse"], v["qkv"], {},
                      {.heads = 2, .kv_heads = 1, .scale = 1000});
  };
  op_case.backward = {};
  op_case.reference = [](auto& v) {
    v["o"] = reference::attention(v["qkv"], v["start"], {2, 1, 1000},
                                  [](int64_t, int64_t, int64_t, int64_t) { return 1.0; });
  };
  op_case.slack = 500;  // scores of thousands round by as much as their exponents may move
  check_op(GetParam(), op_case);
}

// Tokens put in some at a time see what attention over all of them sees.
TEST_P(AttentionTest, CachedIsAttentionRowByRow) {
  struct Pieces {
    Sizes n;
    std::vector<int64_t> counts;
  };
  for (const Pieces& pieces :
       {Pieces{{2, 11, 4, 2, 8}, {3, 1, 2, 3, 2}}, Pieces{{1, 41, 3, 1, 5}, {1, 33, 2, 5}},
        Pieces{{2, 70, 2, 1, 64}, {63, 2, 4, 1}}}) {
    const Sizes& n = pieces.n;
    SCOPED_TRACE(to_string(n.qkv()));
    OpCase op_case = attention_case(n, {}, 0);
    const Attention how = attention_of(n, 0);
    op_case.saved = {constant("keys", {n.B, n.T + 3, n.K, n.D}),
                     constant("values", {n.B, n.T + 3, n.K, n.D})};
    op_case.backward = {};
    op_case.forward = [=](Stream& s, const Tensors& v) {
      const Buffer memory(s.device, v["qkv"].bytes() + v["o"].bytes(), "pieces");
      int64_t t = 0;
      for (int64_t count : pieces.counts) {
        const Tensor in = memory.tensor(0, {n.B, count, n.H + 2 * n.K, n.D}, v["qkv"].dtype);
        const Tensor out = memory.tensor(v["qkv"].bytes(), {n.B, count, n.H, n.D}, in.dtype);
        const auto whole = [&](const char* name, int64_t b) {
          return v[name]
              .slice(b, b + 1)
              .reshape({n.T, v[name].numel() / n.rows()})
              .slice(t, t + count);
        };
        const auto piece = [&](Tensor of, int64_t b) {
          return of.slice(b, b + 1).reshape({count, of.numel() / n.B / count});
        };
        for (int64_t b = 0; b < n.B; ++b) copy(s, piece(in, b), whole("qkv", b));
        attention_cached(s, out, v["keys"], v["values"], in, t, how);
        for (int64_t b = 0; b < n.B; ++b) copy(s, whole("o", b), piece(out, b));
        t += count;
      }
      synchronize(s);
    };
    check_op(GetParam(), op_case);
  }
}

// A sample further on in the batch draws its own mask, wherever it is computed.
TEST(Attention, MaskOfDropoutFollowsTheSample) {
  const Sizes n = {2, 9, 2, 1, 4};
  Buffer memory(Device::cpu, 1 << 16, "test");
  const Tensor qkv = memory.tensor(0, n.qkv(), DType::f32);
  const Tensor both = memory.tensor(1 << 14, n.out(), DType::f32);
  const Tensor alone = memory.tensor(2 << 14, {1, n.T, n.H, n.D}, DType::f32);
  const Tensor lse = memory.tensor(3 << 14, {2, n.H, n.T}, DType::f32);
  for (int64_t i = 0; i < qkv.numel(); ++i) qkv.as<float>()[i] = float(i % 7) - 3;
  Stream s;
  Attention how = attention_of(n, 0.5f);
  attention_forward(s, both, lse, qkv, {}, how);
  ++how.first_sample;
  attention_forward(s, alone, lse.slice(0, 1), qkv.slice(1, 2), {}, how);
  const Tensor second = both.slice(1, 2);
  EXPECT_EQ(std::memcmp(alone.data, second.data, size_t(alone.bytes())), 0);
}

TEST(Attention, RefusesWhatDoesNotFit) {
  Buffer memory(Device::cpu, 1 << 14, "test");
  Stream s;
  const auto tensor = [&](Shape shape, DType dtype = DType::f32) {
    return memory.tensor(0, shape, dtype);
  };
  const Tensor qkv = tensor({1, 5, 8, 4}), o = tensor({1, 5, 4, 4}), lse = tensor({1, 4, 5});
  const Attention how = {.heads = 4, .kv_heads = 2};
  attention_forward(s, o, lse, qkv, {}, how);
  EXPECT_THROW(attention_forward(s, o, lse, qkv, {}, {.heads = 4, .kv_heads = 1}), Error);
  EXPECT_THROW(attention_forward(s, o, lse, tensor({1, 5, 10, 4}), {}, {.heads = 4, .kv_heads = 3}),
               Error);
  EXPECT_THROW(attention_forward(s, tensor({1, 5, 4, 5}), lse, qkv, {}, how), Error);
  EXPECT_THROW(attention_forward(s, o, tensor({1, 5, 4}), qkv, {}, how), Error);
  EXPECT_THROW(attention_forward(s, o, lse, qkv, tensor({1, 4}, DType::i32), how), Error);
  EXPECT_THROW(attention_forward(s, tensor(o.shape, DType::bf16), lse, qkv, {}, how), Error);
  EXPECT_THROW(attention_forward(s, o, lse, qkv, {}, {.heads = 4, .kv_heads = 2, .dropout = 1}),
               Error);
  std::array<int32_t, 5> starts = {0, 0, 3, 3, 3};  // row 2 begins after itself
  EXPECT_THROW(attention_forward(s, o, lse, qkv, {starts.data(), {1, 5}, DType::i32}, how), Error);
  const Tensor keys = tensor({1, 6, 2, 4});
  EXPECT_THROW(attention_cached(s, o, keys, keys, qkv, 2, how), Error);
  EXPECT_THROW(attention_cached(s, o, keys, keys, qkv, -1, how), Error);
}

}  // namespace
}  // namespace limpid
