#include "kernels/cuda/cudnn.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "core/cuda.h"
#include "core/graph.h"
#include "core/memory.h"
#include "kernels/choices.h"

namespace limpid {
namespace {

struct Sizes {
  int64_t B, T, H, K, D;
};

// The tensors of one attention on one device.
struct Case {
  Case(Device device, const Sizes& s) : stream(device) {
    const Shape packed = {s.B, s.T, s.H + 2 * s.K, s.D}, heads = {s.B, s.T, s.H, s.D};
    qkv = make(packed, DType::bf16), dqkv = make(packed, DType::bf16);
    o = make(heads, DType::bf16), dout = make(heads, DType::bf16);
    lse = make({s.B, s.H, s.T}, DType::f32);
    how = {.heads = s.H, .kv_heads = s.K, .scale = 1 / std::sqrt(float(s.D))};
    fill(qkv, "qkv");
    fill(dout, "dout");
  }
  Tensor make(Shape shape, DType dtype) {
    buffers.emplace_back(stream.device, shape.numel() * size_of(dtype), "test");
    return buffers.back().tensor(0, shape, dtype);
  }
  void fill(Tensor to, const char* name) {
    const Buffer host(Device::cpu, to.bytes(), name);
    const Random random(1, name);
    bf16* values = static_cast<bf16*>(host.data());
    for (int64_t i = 0; i < to.numel(); ++i) values[i] = bf16(float(random.normal(uint64_t(i))));
    copy(stream, to, host.tensor(0, to.shape, to.dtype));
    synchronize(stream);
  }
  std::vector<double> values(Tensor tensor) {
    Buffer staging;
    const Tensor host = on_host(stream, tensor, staging);
    std::vector<double> out;
    with_dtype(host.dtype, [&]<class T>() {
      for (int64_t i = 0; i < host.numel(); ++i) out.push_back(double(host.as<const T>()[i]));
    });
    return out;
  }
  bool forward() { return cuda::cudnn_attention_forward(stream, o, lse, qkv, {}, how); }
  bool backward(bool deterministic) {
    return cuda::cudnn_attention_backward(stream, dqkv, dout, o, lse, qkv, {}, how, deterministic);
  }

  Stream stream;
  std::vector<Buffer> buffers;
  Tensor qkv, dqkv, o, dout, lse;
  Attention how;
};

void expect_near(const std::vector<double>& got, const std::vector<double>& want, double tolerance,
                 const char* name) {
  double largest = 0;
  for (double value : want) largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < want.size(); ++i)
    ASSERT_NEAR(got[i], want[i], tolerance * largest) << name << "[" << i << "]";
}

class CudnnTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!cuda::available()) GTEST_SKIP() << "no GPU can be used here";
  }
};

TEST_F(CudnnTest, GivesWhatTheCpuGives) {
  for (const Sizes& s :
       {Sizes{2, 256, 4, 4, 64}, Sizes{1, 200, 8, 2, 64}, Sizes{2, 384, 4, 2, 128}})
    for (bool deterministic : {false, true}) {
      Case cpu(Device::cpu, s), gpu(Device::cuda, s);
      attention_forward(cpu.stream, cpu.o, cpu.lse, cpu.qkv, {}, cpu.how);
      attention_backward(cpu.stream, cpu.dqkv, cpu.dout, cpu.o, cpu.lse, cpu.qkv, {}, cpu.how);
      ASSERT_TRUE(gpu.forward());
      ASSERT_TRUE(gpu.backward(deterministic));
      expect_near(gpu.values(gpu.o), cpu.values(cpu.o), 1e-2, "o");
      expect_near(gpu.values(gpu.lse), cpu.values(cpu.lse), 1e-4, "lse");
      expect_near(gpu.values(gpu.dqkv), cpu.values(cpu.dqkv), 2e-2, "dqkv");
    }
}

TEST_F(CudnnTest, GivesTheSameBitsInAFixedOrder) {
  Case first(Device::cuda, {2, 256, 4, 2, 64}), second(Device::cuda, {2, 256, 4, 2, 64});
  for (Case* c : {&first, &second}) {
    ASSERT_TRUE(c->forward());
    set_kernel_choices(second.stream, kernel_choices(first.stream));
    ASSERT_TRUE(c->backward(true));
    ASSERT_TRUE(c->backward(true));
    set_kernel_choices(second.stream, kernel_choices(first.stream));
  }
  EXPECT_EQ(first.values(first.o), second.values(second.o));
  EXPECT_EQ(first.values(first.dqkv), second.values(second.dqkv));
}

TEST_F(CudnnTest, RunsInACapturedStepThatRanBefore) {
  Case gpu(Device::cuda, {2, 256, 4, 4, 64});
  Graph graph;
  graph.record(gpu.stream, [&] { EXPECT_FALSE(gpu.forward()); });
  ASSERT_TRUE(gpu.forward());
  const std::vector<double> want = gpu.values(gpu.o);
  graph.record(gpu.stream, [&] { EXPECT_TRUE(gpu.forward()); });
  zero(gpu.stream, gpu.o);
  graph.run(gpu.stream);
  EXPECT_EQ(gpu.values(gpu.o), want);
}

TEST_F(CudnnTest, LeavesTheRestToOthers) {
  Case gpu(Device::cuda, {1, 64, 2, 2, 20});
  EXPECT_FALSE(gpu.forward());
  Case dropping(Device::cuda, {1, 64, 2, 2, 64});
  dropping.how.dropout = 0.1f;
  EXPECT_FALSE(dropping.forward());
  EXPECT_FALSE(dropping.backward(false));
}

}  // namespace
}  // namespace limpid
