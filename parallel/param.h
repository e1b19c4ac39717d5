#pragma once

#include <deque>
#include <string>

#include "core/memory.h"
#include "core/random.h"

namespace limpid {

// How a parameter begins: normal around the constant.
struct Init {
  double deviation = 0;
  double constant = 0;
};

// One named tensor that is trained. value is in the dtype that the model computes in; grad is in
// its accumulator's.
struct Param {
  std::string name;  // "layers.0.attention.q.weight"
  Shape shape;
  Init init;
  bool follows = false;  // lies in memory directly behind the one declared before it
  Tensor value;
  Tensor grad;
};

// All parameters of a model: declared one by one, then given memory, one Buffer for values and one
// for gradients.
class Params {
 public:
  // The reference stays valid. With `follows`, a kernel may see this one and those before it as one
  // matrix (q|k|v, gate|up).
  Param& add(std::string name, Shape shape, Init init, bool follows = false);
  // Throws Error where memory is short. Values are zero until initialise() or a checkpoint fills
  // them.
  void allocate(Device, DType, bool with_gradients);
  // Element i of a parameter is f(seed, name, i), whatever else there is (Random).
  void initialise(Stream&, uint64_t seed);
  void zero_gradients(Stream&);

  int64_t count() const;  // elements
  int64_t value_bytes() const { return values_.bytes(); }
  int64_t gradient_bytes() const { return gradients_.bytes(); }
  size_t size() const { return params_.size(); }
  auto begin() { return params_.begin(); }
  auto end() { return params_.end(); }
  auto begin() const { return params_.begin(); }
  auto end() const { return params_.end(); }

 private:
  std::deque<Param> params_;  // a deque, so that references stay valid while it grows
  Buffer values_, gradients_;
};

}  // namespace limpid
