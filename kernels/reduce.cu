#include <cmath>

#include "core/random.h"
#include "kernels/cuda/tensors.h"
#include "kernels/reduce.h"

namespace limpid::cuda {
namespace {

constexpr int kTileWarps = kTileThreads / kWarp;

// ---- sums

struct Summed {
  const void* data;
  int64_t count;
};

template <class T, bool kSquares>
__global__ void __launch_bounds__(kTileThreads)
    tile_sums_kernel(double* partials, const TensorTable<Summed> table) {
  constexpr int kSize = kWide<T>;
  const Tile tile = tile_of(table, int(blockIdx.x));
  const T* x = static_cast<const T*>(table.at[tile.tensor].data);
  double sum = 0;
  for_packs<kSize>(tile, [&](int64_t i, int n) {
    const Pack<T, kSize> pack = load_part<kSize>(x + i, n);
#pragma unroll
    for (int k = 0; k < kSize; ++k) {
      const double value = double(widen(pack.at[k]));
      sum += kSquares ? value * value : value;
    }
  });
  sum = block_sum<kTileThreads>(sum, shared_memory<double>());
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

template <bool kSquares>
void sums_of(Stream& stream, Tensor out, std::span<const Tensor> xs) {
  for_tables<Summed>(
      xs, [](const Tensor& x) { return x.dtype; },
      [](const Tensor& x) {
        return Summed{x.data, x.numel()};
      },
      [&](const TensorTable<Summed>& table, size_t first) {
        const int64_t tiles = table.tiles();
        double* partials =
            static_cast<double*>(stream.queue().scratch(tiles * int64_t(sizeof(double))));
        with_gpu_dtype(xs[first].dtype, [&]<class T>() {
          launch(stream, {"tile_sums", tiles, kTileThreads, kTileWarps * int64_t(sizeof(double))},
                 tile_sums_kernel<T, kSquares>, partials, table);
        });
        add_trees(stream, out.as<double>() + first, partials, table, 1);
      });
}

// ---- digest

struct Fingerprinted {
  const void* data;
  int64_t count;
  uint64_t start;  // what element 0 has for key + index * stride
};

// u64 sums wrap around and are the same in any order, so blocks may add theirs as they end.
template <class U>
__global__ void __launch_bounds__(kTileThreads)
    digest_kernel(unsigned long long* out, const TensorTable<Fingerprinted> table) {
  constexpr int kSize = 16 / int(sizeof(U));
  uint64_t low = 0, high = 0;
  for (int t = int(blockIdx.x); t < table.tiles(); t += int(gridDim.x)) {
    const Tile tile = tile_of(table, t);
    const U* bits = static_cast<const U*>(table.at[tile.tensor].data);
    const uint64_t start = table.at[tile.tensor].start;
    for_packs<kSize>(tile, [&](int64_t i, int n) {
      const Pack<U, kSize> pack = load_part<kSize>(bits + i, n);
#pragma unroll
      for (int k = 0; k < kSize; ++k) {
        if (k >= n) break;
        const uint64_t mixed = mix64((start + uint64_t(i + k) * kDigestStride) ^ pack.at[k]);
        low += mixed;
        high += mixed * ((mixed >> 32) | 1);
      }
    });
  }
  low = block_sum<kTileThreads>(low, shared_memory<uint64_t>());
  high = block_sum<kTileThreads>(high, shared_memory<uint64_t>(kTileWarps * int(sizeof(high))));
  if (threadIdx.x != 0) return;
  atomicAdd(out, static_cast<unsigned long long>(low));
  atomicAdd(out + 1, static_cast<unsigned long long>(high));
}

// ---- clipping

// One warp adds the squares in their order.
__global__ void __launch_bounds__(kWarp)
    clip_factor_kernel(float* factor, double* norm, const double* squares, const double* loss,
                       int64_t count, double limit) {
  const int lane = int(threadIdx.x);
  double total = 0;
  for (int64_t at = 0; at < count; at += kWarp) {
    const double square = at + lane < count ? squares[at + lane] : 0;
    for (int i = 0; i < kWarp; ++i) total += __shfl_sync(0xffffffffu, square, i);
  }
  if (lane != 0) return;
  const double length = sqrt(total);
  double scale = 1;
  if (limit > 0 && limit < length + 1e-6) scale = limit / (length + 1e-6);
  *norm = length;
  *factor = std::isfinite(length) && std::isfinite(*loss) ? float(scale) : NAN;
}

}  // namespace

void sum(Stream& stream, Tensor out, std::span<const Tensor> xs) {
  sums_of<false>(stream, out, xs);
}

void sum_squares(Stream& stream, Tensor out, std::span<const Tensor> xs) {
  sums_of<true>(stream, out, xs);
}

void digest(Stream& stream, Tensor out, std::span<const Digested> parts) {
  for_tables<Fingerprinted>(
      parts, [](const Digested& part) { return size_of(part.tensor.dtype); },
      [](const Digested& part) {
        return Fingerprinted{part.tensor.data, part.tensor.numel(),
                             part.key + uint64_t(part.first_index) * kDigestStride};
      },
      [&](const TensorTable<Fingerprinted>& table, size_t first) {
        const auto add = [&]<class U>() {
          const int64_t blocks =
              blocks_for(stream, int64_t(table.tiles()) * kTileThreads, kTileThreads);
          launch(stream,
                 {"digest", blocks, kTileThreads, 2 * kTileWarps * int64_t(sizeof(uint64_t))},
                 digest_kernel<U>, static_cast<unsigned long long*>(out.data), table);
        };
        switch (size_of(parts[first].tensor.dtype)) {
          case 1:
            return add.template operator()<uint8_t>();
          case 2:
            return add.template operator()<uint16_t>();
          case 4:
            return add.template operator()<uint32_t>();
          default:
            return add.template operator()<uint64_t>();
        }
      });
}

void clip_factor(Stream& stream, Tensor factor, Tensor norm, Tensor squares, Tensor loss,
                 double limit) {
  require(factor.dtype == DType::f32, "factor is {}, need f32", factor.dtype);
  launch(stream, {"clip_factor", 1, kWarp}, clip_factor_kernel, factor.as<float>(),
         norm.as<double>(), squares.as<const double>(), loss.as<const double>(), squares.numel(),
         limit);
}

}  // namespace limpid::cuda
