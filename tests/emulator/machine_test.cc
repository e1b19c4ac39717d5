// What the emulator of CUDA finds in kernels with one fault each, and what it lets pass.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/launch.h"
#include "core/memory.h"
#include "core/random.h"
#include "kernels/cuda/reduce.h"
#include "tests/support/check_op.h"

namespace limpid::cuda {
namespace {

constexpr int kThreads = 64;

// out[i] = in[63 - i] through shared memory, with or without the barrier that it needs.
template <bool kBarrier>
__global__ void reverse_kernel(float* out, const float* in) {
  const Shared<float> all = shared_memory<float>();
  const int i = int(threadIdx.x);
  all[i] = in[i];
  if (kBarrier) __syncthreads();
  out[i] = all[kThreads - 1 - i];
}

// The same twice in one place: the second writes need a barrier too.
template <bool kBarrier>
__global__ void twice_kernel(float* out, const float* in) {
  const Shared<float> all = shared_memory<float>();
  const int i = int(threadIdx.x);
  for (int turn = 0; turn < 2; ++turn) {
    all[i] = in[i];
    __syncthreads();
    out[i] = all[kThreads - 1 - i];
    if (kBarrier) __syncthreads();
  }
}

// Within a warp, ordered by __syncwarp() or by nothing but a shuffle.
template <bool kSync>
__global__ void within_warp_kernel(float* out, const float* in) {
  const Shared<float> all = shared_memory<float>();
  const int i = int(threadIdx.x);
  all[i] = in[i];
  if (kSync)
    __syncwarp();
  else
    __shfl_xor_sync(0xffffffffu, 0, 1);
  out[i] = all[i ^ 1];
}

__global__ void unwritten_kernel(float* out, const float*) {
  out[threadIdx.x] = shared_memory<float>()[int(threadIdx.x)];
}

__global__ void beyond_kernel(float*, const float* in) {
  shared_memory<float>()[int(threadIdx.x) + 1] = in[0];
}

// Half of the threads never come.
__global__ void half_kernel(float*, const float*) {
  if (threadIdx.x % 2) __shfl_xor_sync(0xffffffffu, 0, 1);
}

__global__ void two_barriers_kernel(float*, const float*) {
  if (threadIdx.x < 32)
    __syncthreads();
  else
    __syncthreads();
}

class Machine : public testing::Test {
 protected:
  Machine() {
    for (int i = 0; i < kThreads; ++i) in()[i] = float(i);
  }
  float* out() { return static_cast<float*>(memory_.data()); }
  float* in() { return out() + kThreads; }
  void run(void (*kernel)(float*, const float*)) {
    launch(stream_, {"tried", 3, kThreads, kThreads * 4}, kernel, out(), in());
  }
  void expect_fault(void (*kernel)(float*, const float*), const std::string& text) {
    expect_error([&] { run(kernel); }, text);
  }

  Stream stream_ = Stream(Device::cuda);
  Buffer memory_ = Buffer(Device::cuda, 2 * kThreads * 4, "test");
};

TEST_F(Machine, FindsAMissingBarrier) {
  run(reverse_kernel<true>);
  for (int i = 0; i < kThreads; ++i) EXPECT_EQ(out()[i], float(kThreads - 1 - i));
  expect_fault(reverse_kernel<false>, "shared memory, which");
  run(twice_kernel<true>);
  expect_fault(twice_kernel<false>, "with no barrier between");
}

TEST_F(Machine, KnowsThatAShuffleOrdersNothing) {
  run(within_warp_kernel<true>);
  EXPECT_EQ(out()[6], 7);
  expect_fault(within_warp_kernel<false>, "with no barrier between");
}

TEST_F(Machine, FindsSharedMemoryThatNobodyWroteAndThatIsNotThere) {
  expect_fault(unwritten_kernel, "which nobody has written");
  expect_fault(beyond_kernel, "beyond its 256");
}

TEST_F(Machine, FindsThreadsThatWaitForEver) {
  expect_fault(half_kernel, "threads wait for ever");
  expect_fault(two_barriers_kernel, "one barrier is reached at");
  run(reverse_kernel<true>);  // and works on
}

TEST_F(Machine, RefusesLaunchesThatNoGpuTakes) {
  const auto start = [&](const Launch& how) {
    launch(stream_, how, reverse_kernel<true>, out(), in());
  };
  expect_error([&] { start({"tried", 1, 2048, 0}); }, "tried");
  expect_error([&] { start({"tried", 1, 48, 0}); }, "48 threads");
  expect_error([&] { start({"tried", 1, 64, 1 << 20}); }, "bytes of shared memory");
}

constexpr int kM = 16, kN = 8, kK = 16;

// c (16,8) = a (16,16) b (16,8), a and b (stored (8,16)) through shared memory.
__global__ void product_kernel(float* c, const bf16* a, const bf16* b, bool transposed) {
  const Shared<bf16> sa = shared_memory<bf16>(), sb = shared_memory<bf16>(kM * kK * 2);
  const int lane = int(threadIdx.x);
  for (int i = lane; i < kM * kK; i += kWarp) sa[i] = a[i];
  for (int i = lane; i < kN * kK; i += kWarp) sb[i] = b[i];
  __syncwarp();
  uint32_t fa[4], fb[4];
  load_matrices(fa, sa + (lane % 16 * kK + lane / 16 * 8));
  if (transposed)  // b stored (16,8)
    load_matrices_transposed(fb, sb + (lane % 16 * kN));
  else
    load_matrices(fb, sb + (lane % 8 * kK + lane / 8 % 2 * 8));
  float sum[4] = {};
  mma(sum, fa, fb[0], fb[1]);
  const int row = lane / 4, col = lane % 4 * 2;
  for (int i = 0; i < 4; ++i) c[(row + i / 2 * 8) * kN + col + i % 2] = sum[i];
}

TEST(MachineProduct, IsThatOfTheMatrices) {
  Stream stream(Device::cuda);
  const Buffer memory(Device::cuda, 4096, "test");
  const Tensor a = memory.tensor(0, {kM, kK}, DType::bf16),
               b = memory.tensor(1024, {kN, kK}, DType::bf16),
               c = memory.tensor(2048, {kM, kN}, DType::f32);
  const Random random(1, "product");
  for (int i = 0; i < kM * kK; ++i) a.as<bf16>()[i] = bf16(float(random.normal(uint64_t(i))));
  for (int i = 0; i < kN * kK; ++i)
    b.as<bf16>()[i] = bf16(float(random.normal(1000u + uint64_t(i))));
  for (bool transposed : {false, true}) {
    launch(stream, {"product", 1, kWarp, (kM + kN) * kK * 2}, product_kernel, c.as<float>(),
           a.as<const bf16>(), b.as<const bf16>(), transposed);
    for (int m = 0; m < kM; ++m)
      for (int n = 0; n < kN; ++n) {
        float want = 0;
        for (int k = 0; k < kK; ++k)
          want += float(a.as<bf16>()[m * kK + k]) *
                  float(b.as<bf16>()[transposed ? k * kN + n : n * kK + k]);
        EXPECT_NEAR(c.as<float>()[m * kN + n], want, 1e-5) << m << "," << n;
      }
  }
}

// Copies are seen only after the wait and a barrier.
template <bool kWait>
__global__ void copy_kernel(float* out, const float* in) {
  const Shared<float> all = shared_memory<float>();
  const int i = int(threadIdx.x);
  if (i < kThreads / 4) copy_async(all + i * 4, in + i * 4, i != 0);
  copy_async_commit();
  if (kWait) copy_async_wait<0>();
  __syncthreads();
  out[i] = all[i];
}

TEST_F(Machine, CopiesArriveWhenWaitedFor) {
  run(copy_kernel<true>);
  for (int i = 0; i < kThreads; ++i) EXPECT_EQ(out()[i], i < 4 ? 0.0f : float(i));
  expect_fault(copy_kernel<false>, "which nobody has written");
}

}  // namespace
}  // namespace limpid::cuda
