#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/cuda.h"
#include "core/memory.h"
#include "tests/reference/array.h"

// The proof of an op: see OpCase for what a test says, and check_op() for what is compared.
namespace limpid {

// Where an op is tried, and how near it must come: differences relative to the largest element of
// a tensor.
struct Op {
  Device device = Device::cpu;
  DType dtype = DType::f64;
  double tolerance = 1e-12;
};
std::string to_string(const Op&);
std::ostream& operator<<(std::ostream&, const Op&);
// Every device and dtype of this build.
std::vector<Op> all_ops();

// Tests of one op are TEST_P of an alias of this fixture, begun by
//   using NormTest = OpTest;
//   INSTANTIATE_TEST_SUITE_P(, NormTest, testing::ValuesIn(all_ops()), op_name);
class OpTest : public testing::TestWithParam<Op> {
 protected:
  void SetUp() override {
    if (GetParam().device == Device::cuda && !cuda::available())
      GTEST_SKIP() << "no GPU can be used here";
  }
};
std::string op_name(const testing::TestParamInfo<Op>&);

// One tensor of a case: by name, shape, the dtype it has, and what becomes of its gradient.
struct Slot {
  enum class Type { storage, accumulator, f64, ids };
  enum class Grad { none, assigned, added };

  std::string name;
  Shape shape;
  Type type = Type::storage;
  Grad grad = Grad::none;
  std::vector<double> values =
      {};  // empty: normal random numbers by the name; of an output: its gradient
};
Slot activation(std::string name, Shape shape, std::vector<double> values = {});  // dx =
Slot weight(std::string name, Shape shape, std::vector<double> values = {});      // dw +=
Slot ids(std::string name, Shape shape, std::vector<double> values);              // i32
Slot constant(std::string name, Shape shape, std::vector<double> values = {});    // storage
Slot state(std::string name, Shape shape, std::vector<double> values = {});       // accumulator

// The tensors of one run, on its device, by name. In a gradient's place stands NaN before the run
// where it is assigned, and kBefore where it is added to.
class Tensors {
 public:
  static constexpr double kBefore = 0.25;

  Tensor operator[](const std::string& name) const;  // Throws Error where there is none.
  Tensor d(const std::string& name) const { return (*this)["d" + name]; }

 private:
  friend class OpRun;
  std::map<std::string, Tensor> tensors_;
};

template <class S>
using Values = std::map<std::string, reference::Array<S>>;

// The formula, from inputs to outputs by name: f(v) sets v["y"] from v["x"] ... for any scalar.
struct Reference {
  template <class F>
  Reference(F f) : real(f), complex(f) {}
  // For f64 alone: then derivatives are central differences.
  template <class F>
  static Reference real_only(F f) {
    Reference out;
    out.real = f;
    return out;
  }

  std::function<void(Values<double>&)> real;
  std::function<void(Values<std::complex<double>>&)> complex;

 private:
  Reference() = default;
};

using OpCall = std::function<void(Stream&, const Tensors&)>;

// An op with its inputs. Outputs are compared with the reference; saved tensors live from forward
// to backward. backward reads d(output) and writes d(input); without one, only forward is tried.
struct OpCase {
  std::vector<Slot> inputs;
  std::vector<Slot> outputs;
  std::vector<Slot> saved = {};
  Reference reference;
  OpCall forward;
  OpCall backward = {};
  double slack = 1;  // on the tolerances of f32 and bf16, for long sums
  double least = 0;  // differences count relative to this where all of a tensor is smaller
};

// f64: outputs equal the reference, gradients its derivatives by complex steps (central differences
// where it has no complex form), to the tolerance relative to each tensor's largest element. Other
// dtypes, on inputs rounded to them: outputs against the reference, gradients against the f64 op on
// the CPU, element by element and by cosine. Any dtype: the same bits from a second run, on 1, 2
// and 3 threads, and from memory that begins elsewhere.
void check_op(const Op&, const OpCase&);

// Runs call and expects Error whose message contains text.
void expect_error(const std::function<void()>& call, const std::string& text);

}  // namespace limpid
