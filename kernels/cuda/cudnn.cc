#include "kernels/cuda/cudnn.h"

#include <cudnn.h>

#include <array>
#include <map>
#include <optional>

#include "core/cuda.h"
#include "core/log.h"
#include "core/memory.h"
#include "kernels/cuda/choices.h"
#include "kernels/cuda/cudnn_graph.h"
#include "kernels/cuda/timing.h"

namespace limpid::cuda {
namespace {

using namespace cudnn;

// Addresses of a graph's tensors.
struct Addresses {
  std::vector<int64_t> ids;
  std::vector<void*> data;

  void add(AttentionTensor id, void* address) {
    ids.push_back(id);
    data.push_back(address);
  }
  // q, k and v, which lie in one tensor.
  void add_packed(const AttentionShape& shape, const std::array<AttentionTensor, 3>& names,
                  const Tensor& qkv) {
    bf16* const first = qkv.as<bf16>();
    add(names[0], first);
    add(names[1], first + shape.H * shape.D);
    add(names[2], first + (shape.H + shape.K) * shape.D);
  }
};

std::string to_string(const AttentionShape& s) {
  return format("attention_{}{} B {} H {} K {} T {} D {}", s.backward ? "backward" : "forward",
                s.deterministic ? " in fixed order" : "", s.B, s.H, s.K, s.T, s.D);
}

// A queue's cuDNN: each shape's fastest plan, found when it is met first, and kept.
class CudnnAttention {
 public:
  explicit CudnnAttention(Queue& queue) : queue_(queue) {
    cudnnHandle_t library = nullptr;
    cudnn::check(cudnnCreate(&library), "begin");
    library_.reset(library);
    cudnn::check(cudnnSetStream(library, queue.stream()), "take a stream");
  }

  // False where there is no plan for the shape.
  bool run(const AttentionShape& shape, Addresses addresses, float scale) {
    float one = 1, minus_infinity = -std::numeric_limits<float>::infinity();
    addresses.add(kScale, &scale);
    addresses.add(kMinusInfinity, &minus_infinity);
    if (shape.backward) addresses.add(kOne, &one);
    auto known = graphs_.find(shape);
    if (known == graphs_.end()) {
      if (capturing(queue_)) return false;
      known = graphs_.emplace(shape, with_one_plan(shape, addresses)).first;
    }
    if (known->second.plans().empty()) return false;
    cudnn::check(execute(known->second.plans()[0], pack(shape, addresses)), "run attention");
    return true;
  }

 private:
  struct Close {
    void operator()(cudnnContext* library) const { cudnnDestroy(library); }
  };
  using Memory = std::unique_ptr<void, void (*)(void*)>;

  // Bytes of the work space that is ours to lay out, before the plan's own.
  static int64_t dots_bytes(const AttentionShape& s) {
    return s.backward ? aligned(s.B * s.H * s.T * 4) : 0;
  }
  static int64_t sums_bytes(const AttentionShape& s) {
    return s.backward && !s.deterministic ? s.B * s.H * s.T * s.D * 4 : 0;
  }

  Descriptor pack(const AttentionShape& shape, Addresses addresses) const {
    char* memory = static_cast<char*>(workspaces_.back().get());
    if (shape.backward) addresses.add(kRowDots, memory);
    memory += dots_bytes(shape);
    if (sums_bytes(shape)) addresses.add(kDqSums, memory);
    return variant_pack(addresses.ids, addresses.data, memory + sums_bytes(shape));
  }

  cudnnStatus_t execute(const Plan& plan, const Descriptor& pack) const {
    return cudnnBackendExecute(library_.get(), plan.descriptor.get(), pack.get());
  }

  // A graph with the one plan that runs fastest, or was chosen before; with none where none runs.
  AttentionGraph with_one_plan(const AttentionShape& shape, const Addresses& addresses) {
    AttentionGraph graph(shape);
    if (graph.plans().empty()) return graph;
    int64_t bytes = 0;
    for (const Plan& plan : graph.plans()) bytes = std::max(bytes, plan.workspace_bytes);
    bytes += dots_bytes(shape) + sums_bytes(shape);
    if (!reserve(bytes)) {
      log("attention: too little memory for the {} that cuDNN wants for {}",
          human_bytes(double(bytes)), to_string(shape));
      graph.keep_none();
      return graph;
    }
    Choices& choices = queue_.part<Choices>();
    const std::string name = format("{} cuDNN {}", to_string(shape), cudnnGetVersion());
    const std::string chosen = choices.find(name);
    size_t best = 0;
    while (best < graph.plans().size() && chosen != std::to_string(best)) ++best;
    if (best == graph.plans().size()) best = fastest(graph, pack(shape, addresses));
    if (best == graph.plans().size()) {
      graph.keep_none();
    } else {
      choices.set(name, std::to_string(best));
      graph.keep_only(best);
    }
    return graph;
  }

  // The number of the plan that runs fastest, or of plans where none runs.
  size_t fastest(const AttentionGraph& graph, const Descriptor& pack) const {
    Stopwatch stopwatch;
    float least_ms = std::numeric_limits<float>::infinity();
    size_t best = graph.plans().size();
    for (size_t i = 0; i < graph.plans().size(); ++i) {
      cudnnStatus_t status = CUDNN_STATUS_SUCCESS;
      const auto run = [&] {
        if (status == CUDNN_STATUS_SUCCESS) status = execute(graph.plans()[i], pack);
      };
      const float ms = stopwatch.least_ms(queue_, run, least_ms);
      if (status != CUDNN_STATUS_SUCCESS || ms >= least_ms) continue;
      least_ms = ms;
      best = i;
    }
    return best;
  }

  // Smaller work spaces stay: graphs that were captured before use them.
  bool reserve(int64_t bytes) {
    if (bytes <= workspace_bytes_) return true;
    Memory larger(allocate(bytes), release);
    if (!larger) return false;
    workspaces_.push_back(std::move(larger));
    workspace_bytes_ = bytes;
    return true;
  }

  Queue& queue_;
  std::unique_ptr<cudnnContext, Close> library_;
  std::map<AttentionShape, AttentionGraph> graphs_;
  std::vector<Memory> workspaces_;
  int64_t workspace_bytes_ = 0;
};

// The shape of a call, unless cuDNN has no such attention.
std::optional<AttentionShape> shape_of(const Tensor& qkv, const Tensor& document_start,
                                       const Attention& how) {
  constexpr int64_t kLargestHead = 256;
  const AttentionShape shape = {
      .B = qkv.shape[0], .H = how.heads, .K = how.kv_heads, .T = qkv.shape[1], .D = qkv.shape[3]};
  if (qkv.dtype != DType::bf16 || document_start || how.dropout > 0) return {};
  if (shape.D % 8 != 0 || shape.D > kLargestHead || shape.B * shape.T == 0) return {};
  return shape;
}

// cuDNN's plans read and write 16 bytes at once.
bool begin_aligned(std::initializer_list<Tensor> tensors) {
  for (const Tensor& tensor : tensors)
    if (reinterpret_cast<uintptr_t>(tensor.data) % 16 != 0) return false;
  return true;
}

}  // namespace

bool cudnn_attention_forward(Stream& stream, Tensor o, Tensor lse, Tensor qkv,
                             Tensor document_start, const Attention& how) {
  const std::optional<AttentionShape> shape = shape_of(qkv, document_start, how);
  if (!shape || !begin_aligned({o, lse, qkv})) return false;
  Addresses addresses;
  addresses.add_packed(*shape, {kQ, kK, kV}, qkv);
  addresses.add(kO, o.data);
  addresses.add(kLse, lse.data);
  return stream.queue().part<CudnnAttention>().run(*shape, addresses, how.scale);
}

bool cudnn_attention_backward(Stream& stream, Tensor dqkv, Tensor dout, Tensor o, Tensor lse,
                              Tensor qkv, Tensor document_start, const Attention& how,
                              bool deterministic) {
  std::optional<AttentionShape> shape = shape_of(qkv, document_start, how);
  if (!shape || !begin_aligned({dqkv, dout, o, lse, qkv})) return false;
  shape->backward = true;
  shape->deterministic = deterministic;
  Addresses addresses;
  addresses.add_packed(*shape, {kQ, kK, kV}, qkv);
  addresses.add_packed(*shape, {kDq, kDk, kDv}, dqkv);
  addresses.add(kDout, dout.data);
  addresses.add(kO, o.data);
  addresses.add(kLse, lse.data);
  return stream.queue().part<CudnnAttention>().run(*shape, addresses, how.scale);
}

}  // namespace limpid::cuda
