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
  std::vector<Digested> pieces;
  for (int64_t row = 0; row < whole.tensor.shape[0]; row += 10)
    pieces.push_back(
        {whole.tensor.slice(row, row + 10), digest_key(whole.name), row * whole.tensor.cols()});
  digest(stream, {sums.data(), {2}, DType::u64}, pieces);
  EXPECT_EQ(parameter_digest(stream, std::vector{whole}), digest_text(sums.data()));
}

TEST(ParameterDigest, IsTheSameOnEveryDevice) {
  Stream cpu, gpu(Device::cuda);
  SampleState sample(1);
  std::vector<Buffer> buffers;
  std::vector<NamedTensor> there;
  for (const NamedTensor& tensor : sample.get().model) {
    const Tensor& here = tensor.tensor;
    buffers.emplace_back(Device::cuda, here.bytes(), tensor.name);
    there.push_back({tensor.name, buffers.back().tensor(0, here.shape, here.dtype)});
    copy(gpu, there.back().tensor, here);
  }
  EXPECT_EQ(parameter_digest(gpu, there), parameter_digest(cpu, sample.get().model));
}

TEST(ParameterDigest, AddsToWhatIsThere) {
  Stream stream;
  SampleState sample(1);
  const auto& tensors = sample.get().model;
  std::array<uint64_t, 2> sums = {};
  const Tensor out{sums.data(), {2}, DType::u64};
  add_digests(stream, out, {tensors.data(), 1});
  add_digests(stream, out, std::span<const NamedTensor>(tensors).subspan(1));
  EXPECT_EQ(digest_text(sums.data()), parameter_digest(stream, tensors));
}

TEST(ParameterDigest, TextHasTheHighWordFirst) {
  const uint64_t sums[2] = {0x1, 0xabc};
  EXPECT_EQ(digest_text(sums), "0000000000000abc0000000000000001");
}

}  // namespace
}  // namespace limpid
