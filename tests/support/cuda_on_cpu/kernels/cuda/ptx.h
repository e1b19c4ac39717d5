#pragma once

#include "core/pack.h"

// kernels/cuda/ptx.h for the emulator: the same names, with every access to shared memory checked.
namespace limpid::cuda {

namespace emulated = limpid::cuda_on_cpu;

template <class T>
class Shared {
 public:
  // An element: reads and writes go through the machine.
  class Element {
   public:
    explicit Element(size_t byte) : byte_(byte) {}
    Element(const Element&) = default;
    operator T() const {
      T value;
      std::memcpy(&value, emulated::shared().read(byte_, sizeof value), sizeof value);
      return value;
    }
    T operator=(T value) {
      std::memcpy(emulated::shared().write(byte_, sizeof value), &value, sizeof value);
      return value;
    }
    T operator=(const Element& other) { return *this = T(other); }
    T operator+=(T value) { return *this = T(*this) + value; }
    T operator*=(T value) { return *this = T(*this) * value; }

   private:
    size_t byte_;
  };

  explicit Shared(size_t byte) : byte_(byte) {}
  Element operator[](int i) const { return Element(byte_ + size_t(i) * sizeof(T)); }
  Shared operator+(int i) const { return Shared(byte_ + size_t(i) * sizeof(T)); }
  template <int kSize>
  Pack<T, kSize> load(int i) const {
    Pack<T, kSize> out;
    std::memcpy(&out, emulated::shared().read(aligned_byte(i, sizeof out), sizeof out), sizeof out);
    return out;
  }
  template <int kSize>
  void store(int i, const Pack<T, kSize>& pack) const {
    std::memcpy(emulated::shared().write(aligned_byte(i, sizeof pack), sizeof pack), &pack,
                sizeof pack);
  }
  size_t byte() const { return byte_; }

 private:
  size_t aligned_byte(int i, size_t bytes) const {
    const size_t at = byte_ + size_t(i) * sizeof(T);
    if (at % bytes)
      emulated::fault("an access of " + std::to_string(bytes) + " bytes at byte " +
                      std::to_string(at) + " of shared memory");
    return at;
  }
  size_t byte_;
};

template <class T>
Shared<T> shared_memory(int byte = 0) {
  return Shared<T>(size_t(byte));
}

struct SharedByte {
  uint32_t address;
  SharedByte operator+(int bytes) const { return {address + uint32_t(bytes)}; }
};
inline SharedByte shared_byte(int byte) { return {uint32_t(byte)}; }

template <int kSize, class T>
Pack<T, kSize> load_once(const T* from) {
  return load<kSize>(from);
}
template <class T, int kSize>
void store_once(T* to, const Pack<T, kSize>& pack) {
  store(to, pack);
}

inline int lane_here() { return emulated::here().lane(); }

inline float exp2_fast(float x) { return std::exp2(x); }

inline uint32_t pack_bf16(float low, float high) {
  return uint32_t(narrow<bf16>(low).bits) | uint32_t(narrow<bf16>(high).bits) << 16;
}

template <class T>
void copy_async(const Shared<T>& to, const T* from, bool valid) {
  emulated::PendingCopy copy{to.byte(), {}};
  if (to.byte() % 16 || (valid && reinterpret_cast<uintptr_t>(from) % 16))
    emulated::fault("a copy of 16 bytes that does not begin on 16 bytes");
  if (valid) std::memcpy(copy.words, from, 16);
  emulated::begin_copy(copy);
}
inline void copy_async(SharedByte to, const void* from, bool valid) {
  copy_async(Shared<uint32_t>(to.address), static_cast<const uint32_t*>(from), valid);
}
inline void copy_async_commit() { emulated::commit_copies(); }
template <int kGroups>
void copy_async_wait() {
  emulated::wait_copies(kGroups);
}

namespace emulation {

// The four matrices that the lanes' rows make: element (r,c) of matrix m is [m][r][c].
inline void gather_matrices(uint16_t (&matrices)[4][8][8], const Shared<bf16>& row,
                            const std::source_location& where) {
  if (row.byte() % 16) emulated::fault("a row of a matrix that does not begin on 16 bytes");
  emulated::LaneValue given;
  std::memcpy(given.words, emulated::shared().read(row.byte(), 16), 16);
  const emulated::LaneValue* all = emulated::exchange(0xffffffffu, given, false, where);
  for (int lane = 0; lane < 32; ++lane)
    std::memcpy(matrices[lane / 8][lane % 8], all[lane].words, 16);
}

inline float half_of(uint32_t pair, int i) {
  return __uint_as_float((i ? pair >> 16 : pair & 0xffffu) << 16);
}

}  // namespace emulation

inline void load_matrices(uint32_t (&out)[4], const Shared<bf16>& row,
                          std::source_location where = std::source_location::current()) {
  uint16_t matrices[4][8][8];
  emulation::gather_matrices(matrices, row, where);
  const int g = emulated::here().lane() / 4, t = emulated::here().lane() % 4;
  for (int m = 0; m < 4; ++m)
    out[m] = uint32_t(matrices[m][g][2 * t]) | uint32_t(matrices[m][g][2 * t + 1]) << 16;
}
inline void load_matrices_transposed(uint32_t (&out)[4], const Shared<bf16>& row,
                                     std::source_location where = std::source_location::current()) {
  uint16_t matrices[4][8][8];
  emulation::gather_matrices(matrices, row, where);
  const int g = emulated::here().lane() / 4, t = emulated::here().lane() % 4;
  for (int m = 0; m < 4; ++m)
    out[m] = uint32_t(matrices[m][2 * t][g]) | uint32_t(matrices[m][2 * t + 1][g]) << 16;
}

inline void load_matrices(uint32_t (&out)[4], SharedByte row,
                          std::source_location where = std::source_location::current()) {
  load_matrices(out, Shared<bf16>(row.address), where);
}
inline void load_matrices_transposed(uint32_t (&out)[4], SharedByte row,
                                     std::source_location where = std::source_location::current()) {
  load_matrices_transposed(out, Shared<bf16>(row.address), where);
}

inline void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                std::source_location where = std::source_location::current()) {
  const emulated::LaneValue given = {{a[0], a[1], a[2], a[3], b0, b1}};
  const emulated::LaneValue* all = emulated::exchange(0xffffffffu, given, false, where);
  const int lane = emulated::here().lane();
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + 8 * (i / 2), col = 2 * (lane % 4) + i % 2;
    for (int k = 0; k < 16; ++k) {
      const int holder_a = row % 8 * 4 + k % 8 / 2, part_a = row / 8 + 2 * (k / 8);
      const int holder_b = col * 4 + k % 8 / 2, part_b = 4 + k / 8;
      c[i] += emulation::half_of(all[holder_a].words[part_a], k % 2) *
              emulation::half_of(all[holder_b].words[part_b], k % 2);
    }
  }
}

}  // namespace limpid::cuda
