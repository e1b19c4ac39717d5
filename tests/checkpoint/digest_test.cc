#include "checkpoint/digest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <set>

#include "kernels/reduce.h"
#include "tests/support/sample_state.h"

namespace limpid {
namespace {

TEST(ParameterDigest, DependsOnEveryBitAndNameAndNotOnTheOrder) {
  Stream stream;
  SampleState sample(1);
  auto& tensors = sample.get().model;
  const std::string digest = parameter_digest(stream, tensors);
  EXPECT_EQ(digest.size(), 32u);
  EXPECT_EQ(digest.find_first_not_of("0123456789abcdef"), std::string::npos);
  std::reverse(tensors.begin(), tensors.end());
  EXPECT_EQ(parameter_digest(stream, tensors), digest);

  std::set<std::string> seen = {digest};
  for (const NamedTensor& tensor : tensors) {
    auto* bytes = static_cast<uint8_t*>(tensor.tensor.data);
    for (const int64_t at : {int64_t(0), tensor.tensor.bytes() - 1}) {
      bytes[at] ^= 0x10;
      EXPECT_TRUE(seen.insert(parameter_digest(stream, tensors)).second) << tensor.name << at;
      bytes[at] ^= 0x10;
    }
  }
  std::swap(tensors[1].tensor, tensors[2].tensor);
  EXPECT_TRUE(seen.insert(parameter_digest(stream, tensors)).second);
}

TEST(ParameterDigest, IsTheSameOfATensorInPieces) {
  Stream stream;
  SampleState sample(1);
  const NamedTensor whole = sample.get().model[0];
  std::array<uint64_t, 2> sums = {};
  const Tensor out{sums.data(), {2}, DType::u64};
  for (int64_t row = 0; row < whole.tensor.shape[0]; row += 10) {
    const Tensor piece = whole.tensor.slice(row, row + 10);
    digest(stream, out, piece, digest_key(whole.name), row * whole.tensor.cols());
  }
  EXPECT_EQ(parameter_digest(stream, std::vector{whole}),
            format("{:016x}{:016x}", sums[1], sums[0]));
}

}  // namespace
}  // namespace limpid
