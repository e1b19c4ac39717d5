#include "model/count.h"

#include <gtest/gtest.h>

namespace limpid {
namespace {

ModelConfig gpt2(int64_t layers, int64_t width, int64_t heads) {
  ModelConfig c;
  c.kind = ModelKind::gpt;
  c.layers = layers;
  c.width = width;
  c.heads = heads;
  c.vocab = 50257;
  c.context = 1024;
  return c;
}

// Totals that their authors publish.
TEST(ParameterCount, PublishedModels) {
  EXPECT_EQ(parameter_count(gpt2(12, 768, 12)), 124439808);
  EXPECT_EQ(parameter_count(gpt2(48, 1600, 25)), 1557611200);
  ModelConfig llama;
  llama.layers = 32;
  llama.width = 4096;
  llama.heads = 32;
  llama.hidden = 11008;
  llama.vocab = 32000;
  llama.context = 2048;
  llama.tied_head = false;
  EXPECT_EQ(parameter_count(llama), 6738415616);
  llama.layers = 80;
  llama.width = 8192;
  llama.heads = 64;
  llama.kv_heads = 8;
  llama.hidden = 28672;
  EXPECT_EQ(parameter_count(llama), 68976648192);
}

TEST(FlopsPerToken, SixTimesTheWeightsAndHalfTheSquareOfAttention) {
  const ModelConfig c = gpt2(12, 768, 12);
  const double weights = 12.0 * 12 * 768 * 768 + 50257.0 * 768;
  EXPECT_EQ(double(matmul_weight_count(c)), weights);
  EXPECT_DOUBLE_EQ(flops_per_token(c, 1024), 6 * weights + 6.0 * 12 * 768 * 1024);
}

TEST(HiddenWidth, DefaultsByKind) {
  ModelConfig c;
  c.width = 384;
  EXPECT_EQ(c.hidden_width(), 1024);
  c.kind = ModelKind::gpt;
  EXPECT_EQ(c.hidden_width(), 1536);
}

}  // namespace
}  // namespace limpid
