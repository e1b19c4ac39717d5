// Times every kernel at the shapes of GPT-2 124M and of a LLaMA, and compares with a plain GEMM and
// a plain copy of the same run. On a GPU there are sixteen times as many tokens, stored in bf16.
//   build/cpu/bench/kernels [--device cuda] [--json] [--repeats N] [--threads N]
#include <functional>

#include "bench/support.h"
#include "kernels/activation.h"
#include "kernels/attention.h"
#include "kernels/cross_entropy.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/matmul.h"
#include "kernels/norm.h"
#include "kernels/qk_norm.h"
#include "kernels/reduce.h"
#include "kernels/rope.h"
#include "kernels/update.h"

namespace limpid::bench {
namespace {

// Collects figures. Each group of kernels has its own inputs, freed after it.
class Bench {
 public:
  explicit Bench(const Options& options) : repeats_(options.repeats), stream_(options.device) {}
  Stream& stream() { return stream_; }
  // How many sequences take the place of `count` small ones on a CPU, and of how many tokens each.
  int64_t sequences(int64_t count) const { return gpu() ? 4 * count : count; }
  int64_t tokens(int64_t count) const { return gpu() ? 4 * count : count; }
  bool gpu() const { return stream_.device == Device::cuda; }

  void gemm(std::string name, std::string shape, double operations,
            const std::function<void()>& run) {
    add({std::move(name), std::move(shape), 0, operations, true}, run);
  }
  // moved: the tensors that a kernel reads or writes, each as often as it stands there.
  void memory(std::string name, std::initializer_list<Tensor> moved,
              const std::function<void()>& run) {
    double bytes = 0;
    for (const Tensor& tensor : moved) bytes += double(tensor.bytes());
    add({std::move(name), to_string(moved.begin()->shape), 0, bytes, false}, run);
  }
  std::vector<Figure> figures;

 private:
  void add(Figure figure, const std::function<void()>& run) {
    figure.seconds = best_seconds(stream_, repeats_, run);
    figures.push_back(std::move(figure));
  }
  int64_t repeats_;
  Stream stream_;
};

// A Linear of N outputs and K inputs over M rows: forward, input gradient, weight gradient.
void linear(Bench& bench, const std::string& name, int64_t M, int64_t N, int64_t K) {
  Inputs in(bench.stream());
  const Tensor x = in.stored({M, K}), y = in.stored({M, N}), w = in.stored({N, K});
  const Tensor dw = in.random({N, K});
  const std::string shape = format("M{} N{} K{}", M, N, K);
  const double operations = 2.0 * double(M) * double(N) * double(K);
  bench.gemm(name + " forward", shape, operations,
             [&] { matmul(bench.stream(), y, x, w, {.transpose_b = true}); });
  bench.gemm(name + " input gradient", shape, operations, [&] { matmul(bench.stream(), x, y, w); });
  bench.gemm(name + " weight gradient", shape, operations,
             [&] { matmul(bench.stream(), dw, y, x, {.transpose_a = true, .accumulate = true}); });
}

void matmuls(Bench& bench) {
  const int64_t rows = bench.sequences(4) * bench.tokens(256);
  linear(bench, "gpt2 qkv", rows, 2304, 768);
  linear(bench, "gpt2 attention out", rows, 768, 768);
  linear(bench, "gpt2 mlp up", rows, 3072, 768);
  linear(bench, "gpt2 mlp down", rows, 768, 3072);
  linear(bench, "gpt2 head", rows, 50304, 768);
  linear(bench, "llama qkv", 2 * rows, 1152, 384);
  linear(bench, "llama attention out", 2 * rows, 384, 384);
  linear(bench, "llama mlp gate|up", 2 * rows, 2048, 384);
  linear(bench, "llama mlp down", 2 * rows, 384, 1024);
  linear(bench, "llama head", 2 * rows, 8192, 384);
  Inputs in(bench.stream());
  const Tensor db = in.random({3072}), dy = in.stored({rows, 3072});
  bench.memory("bias_backward", {dy}, [&] { bias_backward(bench.stream(), db, dy); });
}

// Operations: two products forward, five backward, over the pairs that causal attention sees.
void attention(Bench& bench, int64_t B, int64_t T, int64_t H, int64_t K, int64_t D, float dropout) {
  Inputs in(bench.stream());
  const Tensor qkv = in.stored({B, T, H + 2 * K, D}), dqkv = in.stored(qkv.shape);
  const Tensor o = in.stored({B, T, H, D}), dout = in.stored(o.shape), lse = in.random({B, H, T});
  const Attention how = {.heads = H, .kv_heads = K, .scale = 0.125f, .dropout = dropout};
  const std::string shape = format("B{} T{} H{} K{} D{}", B, T, H, K, D);
  const double pairs = double(B * H) * double(T) * double(T + 1) / 2;
  const std::string name = dropout > 0 ? "attention, dropout" : "attention";
  bench.gemm(name + " forward", shape, 4 * pairs * double(D),
             [&] { attention_forward(bench.stream(), o, lse, qkv, {}, how); });
  bench.gemm(name + " backward", shape, 10 * pairs * double(D),
             [&] { attention_backward(bench.stream(), dqkv, dout, o, lse, qkv, {}, how); });
}

void attentions(Bench& bench) {
  const int64_t B = bench.sequences(4), T = bench.tokens(256);
  attention(bench, B, T, 12, 12, 64, 0);
  attention(bench, B, T, 12, 12, 64, 0.1f);
  attention(bench, 2 * B, T, 6, 6, 64, 0);
  attention(bench, 2 * B, T, 6, 2, 64, 0);
  attention(bench, bench.sequences(1), bench.tokens(512), 16, 16, 128, 0);
  attention(bench, bench.sequences(1), 4096, 8, 2, 128, 0);
  Inputs in(bench.stream());
  const int64_t past = 1024, H = 12, D = 64;
  const Tensor keys = in.stored({B, past, H, D}), values = in.stored({B, past, H, D});
  const Tensor qkv = in.stored({B, 1, 3 * H, D}), o = in.stored({B, 1, H, D});
  bench.memory("attention_cached", {keys, values}, [&] {
    attention_cached(bench.stream(), o, keys, values, qkv, past - 1,
                     {.heads = H, .kv_heads = H, .scale = 0.125f});
  });
}

void norms(Bench& bench) {
  Inputs in(bench.stream());
  const Shape rows = {bench.sequences(4), bench.tokens(256)}, all = {rows[0], rows[1], 768};
  const Tensor x = in.stored(all), branch = in.stored(all), sum = in.stored(all);
  const Tensor y = in.stored(all), dy = in.stored(all), dx = in.stored(all);
  const Tensor w = in.stored({768}), b = in.stored({768}), dw = in.random({768});
  const Tensor db = in.random({768}), mean = in.random(rows), rstd = in.random(rows);
  Stream& s = bench.stream();
  bench.memory("layernorm_forward", {x, y},
               [&] { layernorm_forward(s, y, mean, rstd, x, w, b, 1e-5f); });
  bench.memory("add_layernorm_forward", {x, branch, sum, y},
               [&] { add_layernorm_forward(s, y, sum, mean, rstd, x, branch, w, b, 1e-5f); });
  bench.memory("layernorm_backward", {x, dy, branch, dx},
               [&] { layernorm_backward(s, dx, dw, db, dy, branch, x, w, mean, rstd); });
  bench.memory("rmsnorm_forward", {x, y}, [&] { rmsnorm_forward(s, y, rstd, x, w, 1e-5f); });
  bench.memory("add_rmsnorm_forward", {x, branch, sum, y},
               [&] { add_rmsnorm_forward(s, y, sum, rstd, x, branch, w, 1e-5f); });
  bench.memory("rmsnorm_backward", {x, dy, branch, dx},
               [&] { rmsnorm_backward(s, dx, dw, dy, branch, x, w, rstd); });
}

void heads(Bench& bench) {
  Inputs in(bench.stream());
  const int64_t B = bench.sequences(8), T = bench.tokens(256), H = 6, D = 64;
  const Tensor x = in.stored({B, T, 3 * H, D}), y = in.stored(x.shape);
  const Tensor wq = in.stored({D}), wk = in.stored({D}), dwq = in.random({D});
  const Tensor dwk = in.random({D}), rstd = in.random({B, T, 2 * H}), table = in.random({T, 2, 32});
  Stream& s = bench.stream();
  bench.memory("qk_norm_forward", {x, y},
               [&] { qk_norm_forward(s, y, rstd, x, wq, wk, H, 1e-5f); });
  bench.memory("qk_norm_backward", {x, y, y},
               [&] { qk_norm_backward(s, y, dwq, dwk, y, x, wq, wk, rstd, H); });
  const Tensor rotated = x;
  bench.memory("rope_forward", {rotated, rotated}, [&] { rope_forward(s, x, table, 2 * H, 0); });
  bench.memory("rope_backward", {rotated, rotated}, [&] { rope_backward(s, x, table, 2 * H, 0); });
}

void activations(Bench& bench) {
  Inputs in(bench.stream());
  const int64_t B = bench.sequences(4), T = bench.tokens(256);
  const Tensor x = in.stored({B, T, 3072}), y = in.stored(x.shape), dy = in.stored(x.shape);
  const Tensor packed = in.stored({2 * B, T, 2048}), dpacked = in.stored(packed.shape);
  const Tensor half = in.stored({2 * B, T, 1024});
  Stream& s = bench.stream();
  bench.memory("gelu_forward tanh", {x, y}, [&] { gelu_forward(s, y, x, Gelu::tanh); });
  bench.memory("gelu_backward tanh", {x, dy, y}, [&] { gelu_backward(s, y, dy, x, Gelu::tanh); });
  bench.memory("gelu_forward exact", {x, y}, [&] { gelu_forward(s, y, x, Gelu::exact); });
  bench.memory("gelu_backward exact", {x, dy, y}, [&] { gelu_backward(s, y, dy, x, Gelu::exact); });
  bench.memory("swiglu_forward", {packed, half}, [&] { swiglu_forward(s, half, packed); });
  bench.memory("swiglu_backward", {packed, half, dpacked},
               [&] { swiglu_backward(s, dpacked, half, packed); });
  bench.memory("add", {x, dy, y}, [&] { add(s, y, x, dy); });
  bench.memory("scale", {y, y}, [&] { scale(s, y, 1.0f); });
  bench.memory("dropout", {x, y}, [&] { dropout(s, y, x, 0.1f, Random(1, "bench"), 0); });
}

void vocabulary(Bench& bench) {
  Inputs in(bench.stream());
  const int64_t V = 50304, C = 768, B = bench.sequences(4), T = bench.tokens(256), rows = B * T;
  const Tensor w = in.stored({V, C}), positions = in.stored({T, C}), y = in.stored({B, T, C});
  const Tensor dw = in.random({V, C}), dpositions = in.random({T, C});
  const Tensor tokens = in.integers({B, T}, V), targets = in.integers({rows}, V);
  const Tensor logits = in.stored({rows, V}), loss = in.random({rows});
  Stream& s = bench.stream();
  bench.memory("embedding_forward", {y, y},
               [&] { embedding_forward(s, y, tokens, w, positions, 0); });
  bench.memory("embedding_backward", {y, y, y},
               [&] { embedding_backward(s, dw, dpositions, y, tokens, 0); });
  bench.memory("cross_entropy_forward", {logits},
               [&] { cross_entropy_forward(s, loss, logits, targets); });
  bench.memory("cross_entropy_backward", {logits, logits},
               [&] { cross_entropy_backward(s, loss, logits, targets, 1e-3f); });
}

void whole_tensors(Bench& bench) {
  Inputs in(bench.stream());
  const Shape shape = {3072, 768 * 4};
  const Tensor p = in.random(shape), m = in.random(shape), v = in.random(shape);
  const Tensor g = in.random(shape), clip = in.random({1}), out = in.random({1}, DType::f64);
  const Tensor norms = in.random({2}, DType::f64);
  const Tensor print = {norms.data, {2}, DType::u64};
  const std::vector<Digested> printed = {{p, 1}};
  const std::vector<UpdateTensors> all = {
      {.p = p, .copy = {}, .m = m, .v = v, .g = g, .decay = 0.1f, .adapt = true}};
  const Adam adam = {.lr = 1e-4f, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f};
  const Momentum momentum = {.lr = 1e-4f, .momentum = 0.9f, .trust = 1e-3f};
  Stream& s = bench.stream();
  bench.memory("sum", {p}, [&] { sum(s, out, p); });
  bench.memory("sum_squares", {p}, [&] { sum_squares(s, out, p); });
  bench.memory("digest", {p}, [&] { digest(s, print, printed); });
  zero(s, v);
  bench.memory("adamw_update", {p, p, m, m, v, v, g}, [&] { adamw_update(s, all, clip, adam); });
  bench.memory("lamb_moments", {p, m, m, v, v, g},
               [&] { lamb_moments(s, norms, all, clip, adam); });
  bench.memory("lamb_update", {p, p, m, v}, [&] { lamb_update(s, all, norms, adam); });
  bench.memory("lars_update", {p, p, m, m, g}, [&] { lars_update(s, all, clip, norms, momentum); });
  bench.memory("sgd_update", {p, p, m, m, g}, [&] { sgd_update(s, all, clip, momentum); });
}

}  // namespace
}  // namespace limpid::bench

int main(int argc, char** argv) {
  using namespace limpid::bench;
  const char* about = "Every kernel at the shapes of real models against a plain GEMM and copy.";
  return run(argc, argv, about, [](const Options& options) {
    Bench bench(options);
    Machine machine(bench.stream());
    for (const auto group :
         {matmuls, attentions, norms, heads, activations, vocabulary, whole_tensors}) {
      machine.measure(options.repeats);
      group(bench);
    }
    print("kernels", options, machine, bench.figures);
  });
}
