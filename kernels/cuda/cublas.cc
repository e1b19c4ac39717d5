#include "kernels/cuda/cublas.h"

#include <cublasLt.h>

#include <optional>
#include <vector>

#include "core/cuda.h"
#include "core/launch.h"
#include "core/memory.h"
#include "kernels/cuda/choices.h"
#include "kernels/cuda/timing.h"

namespace limpid::cuda {
namespace {

constexpr int64_t kWorkspaceBytes = 32 << 20;
constexpr int kCandidates = 16;  // algorithms that are timed
constexpr int64_t kAligned = 16;

void check(cublasStatus_t status, std::string_view what) {
  require(status == CUBLAS_STATUS_SUCCESS, "cuBLASLt: {}: {}", what,
          cublasLtGetStatusString(status));
}

cudaDataType_t type_of(DType dtype) {
  return with_gpu_dtype(
      dtype, []<class T>() { return std::is_same_v<T, bf16> ? CUDA_R_16BF : CUDA_R_32F; });
}
bool begins_aligned(const Tensor& tensor) {
  return reinterpret_cast<uintptr_t>(tensor.data) % kAligned == 0;
}

// What the choice of an algorithm depends on.
struct Problem {
  int64_t M, N, K;
  DType in, out;
  bool transpose_a, transpose_b, accumulate, bias;
  bool aligned;  // all matrices begin on 16 bytes

  auto operator<=>(const Problem&) const = default;
};

Problem problem_of(Tensor c, Tensor a, Tensor b, const Matmul& how) {
  return {.M = c.rows(),
          .N = c.cols(),
          .K = how.transpose_a ? a.rows() : a.cols(),
          .in = a.dtype,
          .out = c.dtype,
          .transpose_a = how.transpose_a,
          .transpose_b = how.transpose_b,
          .accumulate = how.accumulate,
          .bias = bool(how.bias),
          .aligned = begins_aligned(c) && begins_aligned(a) && begins_aligned(b)};
}

std::string to_string(const Problem& p) {
  return format("{}x{}x{} {} {} {}{}{}{}{}", p.M, p.N, p.K, p.in, p.out, p.transpose_a ? "T" : "N",
                p.transpose_b ? "T" : "N", p.accumulate ? " add" : "", p.bias ? " bias" : "",
                p.aligned ? "" : " unaligned");
}

// A problem in cuBLASLt's words. Its matrices are stored by columns: what it sees of ours is
// transposed, so it is asked for c' = op(b)' op(a)', in which our b stands left.
class Description {
 public:
  explicit Description(const Problem& p)
      : left_(matrix(p.transpose_b ? p.K : p.N, p.transpose_b ? p.N : p.K, p.in)),
        right_(matrix(p.transpose_a ? p.M : p.K, p.transpose_a ? p.K : p.M, p.in)),
        out_(matrix(p.N, p.M, p.out)) {
    check(cublasLtMatmulDescInit(&product_, CUBLAS_COMPUTE_32F, CUDA_R_32F), "describe a product");
    set(CUBLASLT_MATMUL_DESC_TRANSA, p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (p.bias) set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
  }

  void set_bias(const void* bias) { set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias); }

  // d = op(a) op(b) + beta c + bias
  cublasStatus_t run(cublasLtHandle_t library, void* d, const Tensor& c, const Tensor& a,
                     const Tensor& b, float beta, const cublasLtMatmulAlgo_t& algorithm,
                     void* workspace, cudaStream_t stream) const {
    const float alpha = 1;
    return cublasLtMatmul(library, product(), &alpha, b.data, left(), a.data, right(), &beta,
                          c.data, out(), d, out(), &algorithm, workspace, kWorkspaceBytes, stream);
  }

  // The algorithms that cuBLASLt thinks best of, the best first, without those whose sums depend on
  // the order in which blocks end.
  std::vector<cublasLtMatmulAlgo_t> candidates(cublasLtHandle_t library, const Problem& p) const {
    cublasLtMatmulPreferenceOpaque_t preference;
    check(cublasLtMatmulPreferenceInit(&preference), "describe what is wanted");
    const auto want = [&](cublasLtMatmulPreferenceAttributes_t name, auto value) {
      check(cublasLtMatmulPreferenceSetAttribute(&preference, name, &value, sizeof value),
            "describe what is wanted");
    };
    want(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t(kWorkspaceBytes));
    want(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
         uint32_t(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    const auto align = [&](DType dtype) { return uint32_t(p.aligned ? kAligned : size_of(dtype)); };
    want(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, align(p.in));
    want(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, align(p.in));
    want(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, align(p.out));
    want(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, align(p.out));
    std::vector<cublasLtMatmulHeuristicResult_t> results(kCandidates);
    int count = 0;
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(library, product(), left(), right(), out(), out(),
                                       &preference, kCandidates, results.data(), &count);
    std::vector<cublasLtMatmulAlgo_t> good;
    for (int i = 0; status == CUBLAS_STATUS_SUCCESS && i < count; ++i)
      if (results[size_t(i)].state == CUBLAS_STATUS_SUCCESS &&
          has_fixed_order(results[size_t(i)].algo))
        good.push_back(results[size_t(i)].algo);
    return good;
  }

  // Whether an algorithm from elsewhere fits.
  bool accepts(cublasLtHandle_t library, const cublasLtMatmulAlgo_t& algorithm) const {
    cublasLtMatmulHeuristicResult_t result = {};
    return cublasLtMatmulAlgoCheck(library, product(), left(), right(), out(), out(), &algorithm,
                                   &result) == CUBLAS_STATUS_SUCCESS &&
           result.workspaceSize <= size_t(kWorkspaceBytes) && has_fixed_order(algorithm);
  }

 private:
  static cublasLtMatrixLayoutOpaque_t matrix(int64_t rows, int64_t cols, DType dtype) {
    cublasLtMatrixLayoutOpaque_t out;
    check(cublasLtMatrixLayoutInit(&out, type_of(dtype), uint64_t(rows), uint64_t(cols), rows),
          "describe a matrix");
    return out;
  }
  template <class T>
  void set(cublasLtMatmulDescAttributes_t name, const T& value) {
    check(cublasLtMatmulDescSetAttribute(&product_, name, &value, sizeof value),
          "describe a product");
  }
  static bool has_fixed_order(const cublasLtMatmulAlgo_t& algorithm) {
    uint32_t scheme = 0;
    size_t written = 0;
    check(cublasLtMatmulAlgoConfigGetAttribute(&algorithm, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME,
                                               &scheme, sizeof scheme, &written),
          "look at an algorithm");
    return scheme == CUBLASLT_REDUCTION_SCHEME_NONE ||
           scheme == CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  }
  // The library asks for pointers to what it does not change.
  cublasLtMatmulDesc_t product() const {
    return const_cast<cublasLtMatmulDescOpaque_t*>(&product_);
  }
  cublasLtMatrixLayout_t left() const { return const_cast<cublasLtMatrixLayoutOpaque_t*>(&left_); }
  cublasLtMatrixLayout_t right() const {
    return const_cast<cublasLtMatrixLayoutOpaque_t*>(&right_);
  }
  cublasLtMatrixLayout_t out() const { return const_cast<cublasLtMatrixLayoutOpaque_t*>(&out_); }

  cublasLtMatmulDescOpaque_t product_;
  cublasLtMatrixLayoutOpaque_t left_, right_, out_;
};

std::string to_hex(const cublasLtMatmulAlgo_t& algorithm) {
  std::string out;
  for (uint64_t word : algorithm.data)
    for (int shift = 60; shift >= 0; shift -= 4) out += "0123456789abcdef"[(word >> shift) & 15];
  return out;
}

std::optional<cublasLtMatmulAlgo_t> from_hex(const std::string& hex) {
  cublasLtMatmulAlgo_t out = {};
  if (hex.size() != 16 * std::size(out.data)) return {};
  for (size_t i = 0; i < hex.size(); ++i) {
    const size_t digit = std::string_view("0123456789abcdef").find(hex[i]);
    if (digit == std::string_view::npos) return {};
    out.data[i / 16] = out.data[i / 16] << 4 | digit;
  }
  return out;
}

// A queue's cuBLASLt: how each problem is solved is chosen by time when it is met first, and kept.
class Products {
 public:
  explicit Products(Queue& queue)
      : queue_(queue), workspace_(Device::cuda, kWorkspaceBytes, "work space of cuBLASLt") {
    cublasLtHandle_t library = nullptr;
    check(cublasLtCreate(&library), "begin");
    library_.reset(library);
  }

  bool run(Tensor c, Tensor a, Tensor b, const Matmul& how) {
    Matmul asked = how;
    if (how.bias && (how.bias.dtype != c.dtype || !begins_aligned(how.bias))) asked.bias = {};
    const Problem problem = problem_of(c, a, b, asked);
    auto known = solutions_.find(problem);
    if (known == solutions_.end()) {
      Solution fresh = {Description(problem), {}};
      if (asked.bias) fresh.description.set_bias(asked.bias.data);
      if (!choose(fresh, problem, c, a, b)) {
        require(bool(asked.bias), "cuBLASLt has no algorithm for {}", problem);
        asked.bias = {};
        run(c, a, b, asked);
        return false;
      }
      known = solutions_.emplace(problem, fresh).first;
    }
    Solution& solution = known->second;
    if (asked.bias) solution.description.set_bias(asked.bias.data);
    check(try_run(solution, solution.algorithm, c.data, c, a, b, problem), "multiply");
    return !how.bias || asked.bias;
  }

 private:
  struct Solution {
    Description description;
    cublasLtMatmulAlgo_t algorithm;
  };
  struct Close {
    void operator()(cublasLtContext* library) const { cublasLtDestroy(library); }
  };

  cublasStatus_t try_run(const Solution& solution, const cublasLtMatmulAlgo_t& algorithm, void* d,
                         const Tensor& c, const Tensor& a, const Tensor& b,
                         const Problem& problem) const {
    return solution.description.run(library_.get(), d, c, a, b, problem.accumulate ? 1 : 0,
                                    algorithm, workspace_.data(), queue_.stream());
  }

  // Takes the algorithm that was chosen before, or else the fastest. False where there is none.
  bool choose(Solution& solution, const Problem& problem, const Tensor& c, const Tensor& a,
              const Tensor& b) {
    Choices& choices = queue_.part<Choices>();
    const std::string name = format("matmul {} cuBLASLt {}", problem, cublasLtGetVersion());
    const std::optional<cublasLtMatmulAlgo_t> chosen = from_hex(choices.find(name));
    if (chosen && solution.description.accepts(library_.get(), *chosen)) {
      solution.algorithm = *chosen;
      return true;
    }
    const auto candidates = solution.description.candidates(library_.get(), problem);
    if (candidates.empty()) return false;
    solution.algorithm =
        capturing(queue_) ? candidates[0] : fastest(solution, candidates, problem, c, a, b);
    choices.set(name, to_hex(solution.algorithm));
    return true;
  }

  // The fastest of the candidates, which write to c, or where they add to it to other memory.
  cublasLtMatmulAlgo_t fastest(const Solution& solution,
                               const std::vector<cublasLtMatmulAlgo_t>& candidates,
                               const Problem& problem, const Tensor& c, const Tensor& a,
                               const Tensor& b) const {
    const std::unique_ptr<void, void (*)(void*)> other(
        problem.accumulate ? allocate(c.bytes()) : nullptr, release);
    if (problem.accumulate && !other) return candidates[0];
    void* const d = problem.accumulate ? other.get() : c.data;
    Stopwatch stopwatch;
    float least_ms = std::numeric_limits<float>::infinity();
    size_t best = 0;
    for (size_t i = 0; i < candidates.size(); ++i) {
      cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
      const float ms = stopwatch.least_ms(
          queue_,
          [&] {
            if (status == CUBLAS_STATUS_SUCCESS)
              status = try_run(solution, candidates[i], d, c, a, b, problem);
          },
          least_ms);
      if (status == CUBLAS_STATUS_SUCCESS && ms < least_ms) {
        least_ms = ms;
        best = i;
      }
    }
    return candidates[best];
  }

  Queue& queue_;
  Buffer workspace_;
  std::unique_ptr<cublasLtContext, Close> library_;
  std::map<Problem, Solution> solutions_;
};

}  // namespace

bool product(Stream& stream, Tensor c, Tensor a, Tensor b, const Matmul& how) {
  return stream.queue().part<Products>().run(c, a, b, how);
}

}  // namespace limpid::cuda
