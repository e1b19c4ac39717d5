#pragma once

#include "core/pack.h"

// What kernels use below C++: shared memory, and the instructions that have no function in CUDA's
// headers. tests/support/cuda_on_cpu has the same names for the CPU; nothing else differs there.
namespace limpid::cuda {

// A view of the block's shared memory; all of a kernel's accesses go through it.
template <class T>
class Shared {
 public:
  __device__ explicit Shared(T* data) : data_(data) {}
  __device__ T& operator[](int i) const { return data_[i]; }
  __device__ Shared operator+(int i) const { return Shared(data_ + i); }
  // kSize values from element i on; i is a multiple of kSize.
  template <int kSize>
  __device__ Pack<T, kSize> load(int i) const {
    return *reinterpret_cast<const Pack<T, kSize>*>(data_ + i);
  }
  template <int kSize>
  __device__ void store(int i, const Pack<T, kSize>& pack) const {
    *reinterpret_cast<Pack<T, kSize>*>(data_ + i) = pack;
  }
  __device__ uint32_t address() const { return uint32_t(__cvta_generic_to_shared(data_)); }

 private:
  T* data_;
};

// The block's shared memory from a byte on.
template <class T>
__device__ Shared<T> shared_memory(int byte = 0) {
  extern __shared__ __align__(128) unsigned char shared_bytes[];
  return Shared<T>(reinterpret_cast<T*>(shared_bytes + byte));
}

// A byte of the block's shared memory as instructions name it: for many addresses in few registers.
struct SharedByte {
  uint32_t address;
  __device__ SharedByte operator+(int bytes) const { return {address + uint32_t(bytes)}; }
};
__device__ inline SharedByte shared_byte(int byte) {
  return {shared_memory<unsigned char>(0).address() + uint32_t(byte)};
}

// Past every cache that could keep it: for what is read or written once.
template <int kSize, class T>
__device__ Pack<T, kSize> load_once(const T* from) {
  using P = Pack<T, kSize>;
  if constexpr (sizeof(P) == 16) {
    const uint4 bits = __ldcs(reinterpret_cast<const uint4*>(from));
    return *reinterpret_cast<const P*>(&bits);
  } else {
    return *reinterpret_cast<const P*>(from);
  }
}
template <class T, int kSize>
__device__ void store_once(T* to, const Pack<T, kSize>& pack) {
  if constexpr (sizeof(pack) == 16)
    __stcs(reinterpret_cast<uint4*>(to), *reinterpret_cast<const uint4*>(&pack));
  else
    *reinterpret_cast<Pack<T, kSize>*>(to) = pack;
}

// The thread's place in its warp, asked for anew at every call: what is made of it is then not kept
// in registers from one loop to the next, as it would be if it came from threadIdx.
__device__ inline int lane_here() {
  int lane;
  asm volatile("mov.u32 %0, %%laneid;" : "=r"(lane));
  return lane;
}

// 2^x to 2 ulp; subnormal results are 0.
__device__ inline float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Two values as bf16, the first in the lower half.
__device__ inline uint32_t pack_bf16(float low, float high) {
  uint32_t out;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
  return out;
}

// Copies 16 bytes to shared memory while the thread goes on; zeros where !valid. cp.async.
template <class T>
__device__ void copy_async(const Shared<T>& to, const T* from, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to.address()), "l"(from),
               "r"(valid ? 16 : 0)
               : "memory");
}
__device__ inline void copy_async(SharedByte to, const void* from, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to.address), "l"(from),
               "r"(valid ? 16 : 0)
               : "memory");
}
// Ends a group of copies.
__device__ inline void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most kGroups groups of this thread are under way. Other threads' copies are seen
// after the next barrier.
template <int kGroups>
__device__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroups) : "memory");
}

// Four 8 x 8 matrices of bf16: lane l gives the address of row l % 8 of matrix l / 8 (16 bytes, on
// 16 bytes); out[m] holds elements (l / 4, 2 (l % 4) + {0,1}) of matrix m. ldmatrix.
__device__ inline void load_matrices(uint32_t (&out)[4], const Shared<bf16>& row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(row.address())
               : "memory");
}
// The same, each matrix transposed.
__device__ inline void load_matrices_transposed(uint32_t (&out)[4], const Shared<bf16>& row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(row.address())
               : "memory");
}

__device__ inline void load_matrices(uint32_t (&out)[4], SharedByte row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(row.address)
               : "memory");
}
__device__ inline void load_matrices_transposed(uint32_t (&out)[4], SharedByte row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(row.address)
               : "memory");
}

// c (16,8) += a (16,16) b (16,8), bf16 into f32. With g = lane / 4, t = lane % 4:
// a: (g, 2t..) (g+8, 2t..) (g, 2t+8..) (g+8, 2t+8..)   b: (2t.., g) (2t+8.., g)
// c: (g, 2t) (g, 2t+1) (g+8, 2t) (g+8, 2t+1).   mma.m16n8k16.
__device__ inline void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
      "{%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

}  // namespace limpid::cuda
