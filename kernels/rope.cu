#include "kernels/cuda/elements.h"
#include "kernels/rope.h"

namespace limpid::cuda {
namespace {

template <class T>
struct Rotation {
  T* x;                // (rows,heads,2,half), rows in pieces of `length` positions
  const float* table;  // from the first position on: (length,2,half)
  int64_t rows, length;
  int heads, rotated, half;
  float sign;  // -1 turns backwards
};

// A thread has kSize dims of the first half of a head, and those they turn with in the second.
template <int kSize, class T>
__global__ void __launch_bounds__(kElementThreads) rope_kernel(Rotation<T> a) {
  const int packs = a.half / kSize, packs_of_row = a.rotated * packs;
  for_elements<1>(a.rows * packs_of_row, [&](int64_t i) {
    const int64_t row = i / packs_of_row;
    const int pack = int(i % packs_of_row), j = pack % packs * kSize;
    T* first = a.x + (row * a.heads + pack / packs) * 2 * a.half + j;
    const float* angle = a.table + row % a.length * 2 * a.half + j;
    const auto u = load_values<kSize>(first), v = load_values<kSize>(first + a.half);
    const auto cos = load_values<kSize>(angle), sin = load_values<kSize>(angle + a.half);
    Values<kSize> turned_u, turned_v;
#pragma unroll
    for (int k = 0; k < kSize; ++k) {
      const float s = a.sign * sin.at[k];
      turned_u.at[k] = u.at[k] * cos.at[k] - v.at[k] * s;
      turned_v.at[k] = v.at[k] * cos.at[k] + u.at[k] * s;
    }
    store_values(first, turned_u);
    store_values(first + a.half, turned_v);
  });
}

void rotate(Stream& stream, const char* name, Tensor x, Tensor table, int64_t rotated,
            int64_t first_position, float sign) {
  with_gpu_dtype(x.dtype, [&]<class T>() {
    const int64_t D = x.shape[3];
    const Rotation<T> a = {.x = x.as<T>(),
                           .table = table.as<const float>() + first_position * D,
                           .rows = x.shape[0] * x.shape[1],
                           .length = x.shape[1],
                           .heads = int(x.shape[2]),
                           .rotated = int(rotated),
                           .half = int(D / 2),
                           .sign = sign};
    with_width<T>(
        a.half,
        [&]<int kSize>() {
          const int64_t packs = a.rows * a.rotated * (a.half / kSize);
          launch(stream, over_elements(stream, name, packs, 1), rope_kernel<kSize, T>, a);
        },
        a.x, a.table);
  });
}

}  // namespace

void rope_forward(Stream& stream, Tensor qkv, Tensor table, int64_t rotated,
                  int64_t first_position) {
  rotate(stream, "rope_forward", qkv, table, rotated, first_position, 1);
}

void rope_backward(Stream& stream, Tensor dqkv, Tensor table, int64_t rotated,
                   int64_t first_position) {
  rotate(stream, "rope_backward", dqkv, table, rotated, first_position, -1);
}

}  // namespace limpid::cuda
