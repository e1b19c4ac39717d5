#include "kernels/cuda/rows.h"
#include "kernels/norm.h"

namespace limpid::cuda {
namespace {

// ---- forward

template <class T>
struct Forward {
  T *y, *sum;
  float *mean, *rstd;
  const T *x, *branch, *w, *b;
  int64_t rows, C;
  float eps;
};

// One group a row. kMean: LayerNorm, else RMSNorm; kAdd: sum = x + branch is what is normalised.
template <class Row, bool kMean, bool kAdd>
__global__ void __launch_bounds__(Row::kBlock) norm_forward_kernel(Forward<typename Row::Type> a) {
  const RowPlace<Row> place;
  if (place.group >= a.rows) return;
  const int64_t at = place.group * a.C;
  RowValues<Row> v = load_row(place, a.x + at, a.C);
  if constexpr (kAdd) {
    const RowValues<Row> branch = load_row(place, a.branch + at, a.C);
    v = store_row(place, a.sum + at, a.C,
                  [&](int p, int i) { return v.at[p][i] + branch.at[p][i]; });
  }
  float mean = 0;
  if constexpr (kMean) {
    for_values(place, a.C, [&](int p, int i) { mean += v.at[p][i]; });
    mean = row_sum<Row>(mean, 0) / float(a.C);
  }
  float squares = 0;
  for_values(place, a.C,
             [&](int p, int i) { squares += (v.at[p][i] - mean) * (v.at[p][i] - mean); });
  const float rstd = rsqrtf(row_sum<Row>(squares, 1) / float(a.C) + a.eps);
  const RowValues<Row> w = load_row(place, a.w, a.C);
  if constexpr (kMean) {
    const RowValues<Row> b = load_row(place, a.b, a.C);
    store_row(place, a.y + at, a.C,
              [&](int p, int i) { return w.at[p][i] * ((v.at[p][i] - mean) * rstd) + b.at[p][i]; });
  } else {
    store_row(place, a.y + at, a.C, [&](int p, int i) { return w.at[p][i] * (v.at[p][i] * rstd); });
  }
  if (place.thread == 0) {
    if constexpr (kMean) a.mean[place.group] = mean;
    a.rstd[place.group] = rstd;
  }
}

template <class T, bool kMean, bool kAdd>
void forward(Stream& stream, const Forward<T>& a) {
  with_row_shape<T>(
      a.C,
      [&]<class Row>() {
        launch(stream,
               {"norm_forward", (a.rows + Row::kGroups - 1) / Row::kGroups, Row::kBlock,
                kRowScratch<Row>},
               norm_forward_kernel<Row, kMean, kAdd>, a);
      },
      a.y, a.sum, a.x, a.branch, a.w, a.b);
}

// ---- backward

template <class T>
struct Backward {
  T* dx;
  float* partials;  // (groups,2,C), or (groups,C) without mean
  const T *dy, *dresidual, *x, *w;
  const float *mean, *rstd;
  int64_t rows, C;
};

// One group has every groups-th row; its sums for dw and db stay in registers until the end.
template <class Row, bool kMean, bool kResidual>
__global__ void __launch_bounds__(Row::kBlock)
    norm_backward_kernel(Backward<typename Row::Type> a) {
  const RowPlace<Row> place;
  const RowValues<Row> w = load_row(place, a.w, a.C);
  RowValues<Row> dw, db;
  for (int64_t r = place.group; r < a.rows; r += place.groups) {
    const int64_t at = r * a.C;
    const RowValues<Row> x = load_row(place, a.x + at, a.C), dy = load_row(place, a.dy + at, a.C);
    const float rstd = a.rstd[r], mean = kMean ? a.mean[r] : 0;
    float sum = 0, dot = 0;
    for_values(place, a.C, [&](int p, int i) {
      const float g = dy.at[p][i], xhat = (x.at[p][i] - mean) * rstd;
      dw.at[p][i] += g * xhat;
      if constexpr (kMean) {
        db.at[p][i] += g;
        sum += w.at[p][i] * g;
      }
      dot += w.at[p][i] * g * xhat;
    });
    if constexpr (kMean) sum = row_sum<Row>(sum, 0) / float(a.C);
    dot = row_sum<Row>(dot, 1) / float(a.C);
    RowValues<Row> residual;
    if constexpr (kResidual) residual = load_row(place, a.dresidual + at, a.C);
    store_row(place, a.dx + at, a.C, [&](int p, int i) {
      const float xhat = (x.at[p][i] - mean) * rstd;
      const float d = rstd * (w.at[p][i] * dy.at[p][i] - sum - xhat * dot);
      return kResidual ? d + residual.at[p][i] : d;
    });
    if constexpr (Row::kThreads > kWarp && !kMean) __syncthreads();  // the scratch is used again
  }
  constexpr int kSums = kMean ? 2 : 1;
  RowPlace<Row> own = place;
  own.group = place.group * kSums;
  store_partials(own, a.partials, a.C, dw);
  own.group += 1;
  if constexpr (kMean) store_partials(own, a.partials, a.C, db);
}

template <class T, bool kMean>
void backward(Stream& stream, float* dw, float* db, Backward<T> a) {
  with_row_shape<T>(
      a.C,
      [&]<class Row>() {
        const int64_t groups = groups_for<Row>(stream, a.rows), sums = kMean ? 2 : 1;
        a.partials = static_cast<float*>(stream.queue().scratch(groups * sums * a.C * 4));
        const auto kernel = a.dresidual ? norm_backward_kernel<Row, kMean, true>
                                        : norm_backward_kernel<Row, kMean, false>;
        launch(stream, {"norm_backward", groups / Row::kGroups, Row::kBlock, kRowScratch<Row>},
               kernel, a);
        add_partials(stream, dw, a.partials, groups, sums * a.C, a.C);
        if (kMean) add_partials(stream, db, a.partials + a.C, groups, sums * a.C, a.C);
      },
      a.dx, a.dy, a.dresidual, a.x, a.w);
}

}  // namespace

void add_rmsnorm_forward(Stream& stream, Tensor y, Tensor sum, Tensor rstd, Tensor x, Tensor branch,
                         Tensor w, float eps) {
  with_gpu_dtype(x.dtype, [&]<class T>() {
    const Forward<T> a = {.y = y.as<T>(),
                          .sum = data_of<T>(sum),
                          .mean = nullptr,
                          .rstd = rstd.as<float>(),
                          .x = x.as<const T>(),
                          .branch = data_of<const T>(branch),
                          .w = w.as<const T>(),
                          .b = nullptr,
                          .rows = x.rows(),
                          .C = x.cols(),
                          .eps = eps};
    branch ? forward<T, false, true>(stream, a) : forward<T, false, false>(stream, a);
  });
}

void add_layernorm_forward(Stream& stream, Tensor y, Tensor sum, Tensor mean, Tensor rstd, Tensor x,
                           Tensor branch, Tensor w, Tensor b, float eps) {
  with_gpu_dtype(x.dtype, [&]<class T>() {
    const Forward<T> a = {.y = y.as<T>(),
                          .sum = data_of<T>(sum),
                          .mean = mean.as<float>(),
                          .rstd = rstd.as<float>(),
                          .x = x.as<const T>(),
                          .branch = data_of<const T>(branch),
                          .w = w.as<const T>(),
                          .b = b.as<const T>(),
                          .rows = x.rows(),
                          .C = x.cols(),
                          .eps = eps};
    branch ? forward<T, true, true>(stream, a) : forward<T, true, false>(stream, a);
  });
}

void rmsnorm_backward(Stream& stream, Tensor dx, Tensor dw, Tensor dy, Tensor dresidual, Tensor x,
                      Tensor w, Tensor rstd) {
  with_gpu_dtype(x.dtype, [&]<class T>() {
    backward<T, false>(stream, dw.as<float>(), nullptr,
                       {.dx = dx.as<T>(),
                        .partials = nullptr,
                        .dy = dy.as<const T>(),
                        .dresidual = data_of<const T>(dresidual),
                        .x = x.as<const T>(),
                        .w = w.as<const T>(),
                        .mean = nullptr,
                        .rstd = rstd.as<const float>(),
                        .rows = x.rows(),
                        .C = x.cols()});
  });
}

void layernorm_backward(Stream& stream, Tensor dx, Tensor dw, Tensor db, Tensor dy,
                        Tensor dresidual, Tensor x, Tensor w, Tensor mean, Tensor rstd) {
  with_gpu_dtype(x.dtype, [&]<class T>() {
    backward<T, true>(stream, dw.as<float>(), db.as<float>(),
                      {.dx = dx.as<T>(),
                       .partials = nullptr,
                       .dy = dy.as<const T>(),
                       .dresidual = data_of<const T>(dresidual),
                       .x = x.as<const T>(),
                       .w = w.as<const T>(),
                       .mean = mean.as<const float>(),
                       .rstd = rstd.as<const float>(),
                       .rows = x.rows(),
                       .C = x.cols()});
  });
}

}  // namespace limpid::cuda
