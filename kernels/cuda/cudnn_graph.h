#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

// Causal attention as a graph of cuDNN's backend API. The engines that fuse it know a graph by its
// operations, their order and their dtypes, so these stand as the engines want them.
namespace limpid::cuda::cudnn {

// One object of the API.
struct Destroy {
  void operator()(void*) const;
};
using Descriptor = std::unique_ptr<void, Destroy>;

// B batch, H query heads, K heads of keys and values, T tokens, D elements of a head, all bf16.
struct AttentionShape {
  int64_t B, H, K, T, D;
  bool backward = false;
  bool deterministic = false;  // of backward: no sums in the order in which blocks end

  auto operator<=>(const AttentionShape&) const = default;
};

// The tensors of a graph that the caller has: their ids.
enum AttentionTensor : int64_t {
  kQ = 1,  // (B,T,H+2K,D), at its q; k and v, and the gradients of the three, likewise
  kK,
  kV,
  kO,    // (B,T,H,D)
  kLse,  // (B,H,T) f32
  kDout,
  kDq,
  kDk,
  kDv,
  kRowDots,  // (B,H,T) f32: work space of backward, sums of dout * o over D
  kDqSums,   // (B,H,T,D) f32: work space of backward where it is not deterministic
  kScale,    // one f32 on the host, as are those below
  kMinusInfinity,
  kOne,
};

struct Plan {
  Descriptor descriptor;
  int64_t workspace_bytes;
};

// A graph with cuDNN's plans for it.
class AttentionGraph {
 public:
  // For the GPU that is there, or one described as JSON. Plans are compiled here, in about a second
  // each. There are none where cuDNN has no engine for the shape.
  explicit AttentionGraph(const AttentionShape&, const std::string& device = "");

  const std::vector<Plan>& plans() const { return plans_; }  // cuDNN's best guess first
  void keep_only(size_t plan);
  void keep_none() { plans_.clear(); }

 private:
  std::vector<Descriptor> parts_;  // what the plans were made from
  std::vector<Plan> plans_;
};

// Throws Error with cuDNN's own words unless `status`, a cudnnStatus_t, is success.
void check(int status, const char* what);
// What a plan is run with: ids and addresses of its tensors, and its work space.
Descriptor variant_pack(const std::vector<int64_t>& ids, const std::vector<void*>& data,
                        void* workspace);

}  // namespace limpid::cuda::cudnn
