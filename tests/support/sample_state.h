#pragma once

#include <memory>
#include <string>
#include <vector>

#include "checkpoint/state.h"
#include "core/memory.h"

namespace limpid {

// A small state with memory of its own: tensors of several shapes and both dtypes, their bits a
// function of seed and name.
class SampleState {
 public:
  explicit SampleState(uint64_t seed, int64_t step = 0);

  State& get() { return state_; }
  const State& get() const { return state_; }
  // Sets the bytes of all tensors to zero.
  void clear();
  // The bytes of all tensors, in order of their names.
  std::string bytes() const;

 private:
  void add(std::vector<NamedTensor>& to, const std::string& name, Shape shape, DType dtype,
           uint64_t seed);
  std::vector<Buffer> buffers_;
  State state_;
};

// An account with something in every part of it.
Account sample_account(int64_t step);

}  // namespace limpid
