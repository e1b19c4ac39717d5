#include "kernels/cuda/cudnn_graph.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "core/error.h"

// Whether cuDNN takes our graphs and compiles plans for them, for an H200 that need not be there.
namespace limpid::cuda::cudnn {
namespace {

std::string h200() {
  std::ifstream file(LIMPID_SOURCE "/tests/gpu/h200.json");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

class CudnnGraphTest : public testing::TestWithParam<AttentionShape> {};

std::string shape_name(const testing::TestParamInfo<AttentionShape>& info) {
  const AttentionShape& s = info.param;
  return format("H{}_K{}_T{}_D{}", s.H, s.K, s.T, s.D);
}
INSTANTIATE_TEST_SUITE_P(, CudnnGraphTest,
                         testing::Values(AttentionShape{4, 12, 12, 1024, 64},
                                         AttentionShape{2, 32, 8, 2048, 64},
                                         AttentionShape{2, 16, 16, 1000, 128},
                                         AttentionShape{2, 32, 8, 1024, 128}),
                         shape_name);

void expect_plans(const AttentionShape& shape) {
  const AttentionGraph graph(shape, h200());
  EXPECT_GE(graph.plans().size(), 1u);
  for (const Plan& plan : graph.plans()) {
    EXPECT_TRUE(plan.descriptor);
    // Without sums in any order, what meets in dq waits in bf16.
    EXPECT_GE(plan.workspace_bytes,
              shape.deterministic ? shape.B * shape.H * shape.T * shape.T * 2 : 0);
    EXPECT_LT(plan.workspace_bytes, int64_t(4) << 30);
  }
}

TEST_P(CudnnGraphTest, Forward) { expect_plans(GetParam()); }

TEST_P(CudnnGraphTest, Backward) {
  AttentionShape shape = GetParam();
  shape.backward = true;
  expect_plans(shape);
}

TEST_P(CudnnGraphTest, DeterministicBackward) {
  AttentionShape shape = GetParam();
  shape.backward = shape.deterministic = true;
  expect_plans(shape);
}

TEST(CudnnGraph, HasNoPlanForHeadsThatCudnnDoesNotKnow) {
  EXPECT_TRUE(AttentionGraph({2, 4, 4, 256, 20}, h200()).plans().empty());
}

TEST(CudnnGraph, KeepsOnePlan) {
  AttentionGraph graph({2, 12, 12, 1024, 64}, h200());
  ASSERT_GE(graph.plans().size(), 2u);
  void* const second = graph.plans()[1].descriptor.get();
  graph.keep_only(1);
  ASSERT_EQ(graph.plans().size(), 1u);
  EXPECT_EQ(graph.plans()[0].descriptor.get(), second);
}

}  // namespace
}  // namespace limpid::cuda::cudnn
