#include "core/memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <cstring>

#include "core/graph.h"

namespace limpid {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(Buffer, IsZeroAlignedAndMoves) {
  Buffer buffer(Device::cpu, 1 << 20, "weights");
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % kAlignment, 0u);
  const Tensor tensor = buffer.tensor(256, {16, 16}, DType::f32);
  EXPECT_EQ(static_cast<char*>(tensor.data) - static_cast<char*>(buffer.data()), 256);
  for (int i = 0; i < 256; ++i) ASSERT_EQ(tensor.as<float>()[i], 0);
  tensor.as<float>()[7] = 3;
  Buffer moved = std::move(buffer);
  EXPECT_EQ(moved.tensor(256, {8}, DType::f32).as<float>()[7], 3);
  buffer = std::move(moved);
  EXPECT_EQ(buffer.bytes(), 1 << 20);
  EXPECT_EQ(Buffer(Device::cpu, 0, "none").data(), nullptr);
}

TEST(Buffer, RefusesWhatDoesNotFitByItsLabel) {
  Buffer buffer(Device::cpu, 1024, "weights");
  EXPECT_NO_THROW(buffer.tensor(0, {256}, DType::f32));
  EXPECT_THAT([&] { buffer.tensor(4, {256}, DType::f32); },
              ThrowsMessage<Error>(HasSubstr("weights: f32 (256) at byte 4 does not fit")));
  EXPECT_THROW(buffer.tensor(-4, {2}, DType::f32), Error);
  EXPECT_THROW(Buffer(Device::cpu, -1, "weights"), Error);
  EXPECT_THAT([] { Buffer(Device::cpu, int64_t(1) << 60, "activations"); },
              ThrowsMessage<Error>(HasSubstr("activations: cannot get")));
}

TEST(Arena, GivesBackWhatAScopeTookAndRemembersTheMost) {
  Arena arena(Device::cpu, 4096, "activations");
  const Tensor kept = arena.alloc({10}, DType::f32, "kept");
  EXPECT_EQ(arena.used(), aligned(40));
  {
    const Arena::Scope scope(arena);
    const Tensor a = arena.alloc({100}, DType::f32, "a");
    const Tensor b = arena.alloc({100}, DType::bf16, "b");
    EXPECT_EQ(reinterpret_cast<uintptr_t>(b.data) % kAlignment, 0u);
    EXPECT_GE(static_cast<char*>(b.data), static_cast<char*>(a.data) + 400);
  }
  EXPECT_EQ(arena.used(), aligned(40));
  arena.alloc({8}, DType::f32, "later");
  EXPECT_EQ(arena.high_water(), aligned(40) + aligned(400) + aligned(200));
  EXPECT_EQ(arena.high_water_by_label(),
            (std::map<std::string, int64_t>{
                {"kept", aligned(40)}, {"a", aligned(400)}, {"b", aligned(200)}}));
  EXPECT_EQ(static_cast<char*>(kept.data) + aligned(40),
            static_cast<char*>(arena.alloc({1}, DType::u8, "x").data) - aligned(32));
}

TEST(Arena, RefusesWhatExceedsItByLabelAndSize) {
  Arena arena(Device::cpu, 128, "activations");
  arena.alloc({16}, DType::f32, "a");
  EXPECT_THAT([&] { arena.alloc({17}, DType::f32, "scores"); },
              ThrowsMessage<Error>(
                  HasSubstr("activations: scores f32 (17) needs 128 bytes, 64 of 128 are left")));
  EXPECT_EQ(arena.used(), 64);
}

TEST(ZeroAndCopy, WorkAcrossDtypesAndSizes) {
  Stream stream;
  constexpr int64_t kCount = 3 << 20;  // several pieces of work
  Buffer buffer(Device::cpu, kCount * 12, "test");
  const Tensor a = buffer.tensor(0, {kCount}, DType::f32);
  const Tensor b = buffer.tensor(kCount * 4, {kCount}, DType::f32);
  const Tensor c = buffer.tensor(kCount * 8, {kCount}, DType::bf16);
  for (int64_t i = 0; i < kCount; ++i) a.as<float>()[i] = float(i) / 3;
  copy(stream, b, a);
  EXPECT_EQ(std::memcmp(a.data, b.data, size_t(a.bytes())), 0);
  copy(stream, c, a);
  copy(stream, b, c);
  for (int64_t i = 0; i < kCount; i += 1001) ASSERT_EQ(b.as<float>()[i], float(bf16(float(i) / 3)));
  zero(stream, a);
  for (int64_t i = 0; i < kCount; ++i) ASSERT_EQ(a.as<float>()[i], 0);
  EXPECT_THROW(copy(stream, a, b.slice(0, 5)), Error);
  EXPECT_THROW(copy(stream, {a.data, {4}, DType::u32}, b.slice(0, 4)), Error);
}

TEST(CudaCopy, ConvertsAndComesBack) {
  Stream stream(Device::cuda);
  constexpr int64_t kCount = 1001;
  const Buffer host(Device::cpu, kCount * 4, "host"), device(Device::cuda, kCount * 12, "device");
  const Tensor h = host.tensor(0, {kCount}, DType::f32);
  const Tensor a = device.tensor(0, {kCount}, DType::f32);
  const Tensor b = device.tensor(kCount * 4, {kCount}, DType::bf16);
  const Tensor c = device.tensor(kCount * 8, {kCount}, DType::f32);
  for (int64_t i = 0; i < kCount; ++i) h.as<float>()[i] = float(i) / 3;
  copy(stream, a, h);
  copy(stream, b, a);
  copy(stream, c, b);
  Buffer staging;
  const Tensor back = on_host(stream, c, staging);
  for (int64_t i = 0; i < kCount; ++i)
    ASSERT_EQ(back.as<float>()[i], float(bf16(h.as<float>()[i])));
  zero(stream, c);
  EXPECT_EQ(on_host(stream, c, staging).as<float>()[kCount - 1], 0);
}

// What a graph gives again is what was recorded: the same addresses, and nothing before run().
TEST(CudaGraph, GivesItsWorkAgain) {
  Stream stream(Device::cuda);
  const Buffer device(Device::cuda, 256, "device");
  const Tensor from = device.tensor(0, {4}, DType::f32), to = device.tensor(128, {4}, DType::f32);
  Buffer staging;
  const auto value = [&] { return on_host(stream, to, staging).as<float>()[3]; };
  const auto set = [&](float x) {
    const std::array<float, 4> values = {x, x, x, x};
    copy(stream, from, {const_cast<float*>(values.data()), {4}, DType::f32});
    synchronize(stream);
  };
  set(1);
  Graph graph;
  graph.record(stream, [&] { copy(stream, to, from); });
  EXPECT_EQ(value(), 0);
  graph.run(stream);
  EXPECT_EQ(value(), 1);
  set(2);
  graph.run(stream);
  EXPECT_EQ(value(), 2);
}

TEST(ProcessPeak, GrowsWithWhatIsTouched) {
  const int64_t before = process_peak_bytes();
  Buffer buffer(Device::cpu, 256 << 20, "test");
  std::memset(buffer.data(), 1, size_t(buffer.bytes()));
  EXPECT_GE(process_peak_bytes(), before);
  EXPECT_GE(process_peak_bytes(), int64_t(256) << 20);
}

}  // namespace
}  // namespace limpid
