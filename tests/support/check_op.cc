#include "tests/support/check_op.h"

#include <omp.h>

#include <algorithm>
#include <cstring>

#include "core/random.h"

namespace limpid {

using Complex = std::complex<double>;
using reference::Array;

Slot activation(std::string name, Shape shape, std::vector<double> values) {
  return {std::move(name), shape, Slot::Type::storage, Slot::Grad::assigned, std::move(values)};
}
Slot weight(std::string name, Shape shape, std::vector<double> values) {
  return {std::move(name), shape, Slot::Type::storage, Slot::Grad::added, std::move(values)};
}
Slot ids(std::string name, Shape shape, std::vector<double> values) {
  return {std::move(name), shape, Slot::Type::ids, Slot::Grad::none, std::move(values)};
}
Slot constant(std::string name, Shape shape, std::vector<double> values) {
  return {std::move(name), shape, Slot::Type::storage, Slot::Grad::none, std::move(values)};
}
Slot state(std::string name, Shape shape, std::vector<double> values) {
  return {std::move(name), shape, Slot::Type::accumulator, Slot::Grad::none, std::move(values)};
}

std::string to_string(const Op& op) { return to_string(op.device) + "_" + to_string(op.dtype); }
std::ostream& operator<<(std::ostream& out, const Op& op) { return out << to_string(op); }
std::string op_name(const testing::TestParamInfo<Op>& info) { return to_string(info.param); }

std::vector<Op> all_ops() {
  return {{Device::cpu, DType::f64, 1e-12},
          {Device::cpu, DType::f32, 2e-6},
          {Device::cpu, DType::bf16, 1e-2},
          {Device::cuda, DType::f32, 2e-6},
          {Device::cuda, DType::bf16, 1e-2}};
}

Tensor Tensors::operator[](const std::string& name) const {
  const auto found = tensors_.find(name);
  require(found != tensors_.end(), "the case has no tensor {}", name);
  return found->second;
}

namespace {

DType dtype_of_slot(const Slot& slot, DType dtype) {
  if (slot.type == Slot::Type::ids) return DType::i32;
  if (slot.type == Slot::Type::f64) return DType::f64;
  return slot.type == Slot::Type::storage ? dtype : accum_dtype(dtype);
}

// Calls f with the C++ type of any dtype that a case may hold.
template <class F>
void with_element(DType dtype, F f) {
  dtype == DType::i32 ? f.template operator()<int32_t>() : with_dtype(dtype, f);
}

// value as it is after storage in dtype.
double rounded(double value, DType dtype) {
  double out = 0;
  with_element(dtype, [&]<class T>() { out = double(T(value)); });
  return out;
}

// The values of a slot, as they are after storage in the dtype of a run.
Array<double> values_of(const Slot& slot, const std::string& name, DType dtype) {
  Array<double> out(slot.shape);
  require(slot.values.empty() || int64_t(slot.values.size()) == out.numel(),
          "{} has {} values for {}", name, int64_t(slot.values.size()), slot.shape);
  const Random random(1, name);
  for (int64_t i = 0; i < out.numel(); ++i) {
    const double value = slot.values.empty() ? random.normal(uint64_t(i)) : slot.values[size_t(i)];
    out[i] = rounded(value, dtype_of_slot(slot, dtype));
  }
  return out;
}

// What goes into a run: inputs, and where there is a backward the gradients that arrive at outputs.
Values<double> values_of(const OpCase& op_case, DType dtype) {
  Values<double> out;
  for (const Slot& slot : op_case.inputs) out[slot.name] = values_of(slot, slot.name, dtype);
  for (const Slot& slot : op_case.outputs)
    if (op_case.backward) out["d" + slot.name] = values_of(slot, "d" + slot.name, dtype);
  return out;
}

Array<double> filled(const Shape& shape, double value) {
  Array<double> out(shape);
  std::fill(out.data.begin(), out.data.end(), value);
  return out;
}

void put(Tensor tensor, const Array<double>& values) {
  with_element(tensor.dtype, [&]<class T>() {
    for (int64_t i = 0; i < values.numel(); ++i) tensor.as<T>()[i] = T(values[i]);
  });
}

Array<double> get(Tensor tensor) {
  Array<double> out(tensor.shape);
  with_element(tensor.dtype, [&]<class T>() {
    for (int64_t i = 0; i < out.numel(); ++i) out[i] = double(tensor.as<const T>()[i]);
  });
  return out;
}

}  // namespace

// One run of a case, each tensor in memory that begins `shift` elements past a page.
class OpRun {
 public:
  OpRun(const OpCase& op_case, const Op& op, const Values<double>& values, int64_t shift)
      : op_(op), shift_(shift), stream_(op.device) {
    for (const auto* slots : {&op_case.inputs, &op_case.outputs, &op_case.saved})
      for (const Slot& slot : *slots)
        make(slot.name, slot.shape, dtype_of_slot(slot, op.dtype), NAN);
    std::vector<std::string> gradients;
    for (const Slot& slot : op_case.inputs) {
      if (slot.grad == Slot::Grad::none || !op_case.backward) continue;
      const bool added = slot.grad == Slot::Grad::added;
      gradients.push_back("d" + slot.name);
      make("d" + slot.name, slot.shape, added ? accum_dtype(op.dtype) : op.dtype,
           added ? Tensors::kBefore : NAN);
    }
    for (const Slot& slot : op_case.outputs)
      if (op_case.backward) make("d" + slot.name, slot.shape, dtype_of_slot(slot, op.dtype), NAN);
    for (const auto& [name, array] : values) set(name, array);
    op_case.forward(stream_, tensors_);
    for (const Slot& slot : op_case.outputs) keep(slot.name);
    if (op_case.backward) op_case.backward(stream_, tensors_);
    for (const std::string& name : gradients) keep(name);
  }

  // Outputs and gradients by name, as they were when their pass ended.
  std::map<std::string, Array<double>> results;
  std::map<std::string, std::string> bytes;

 private:
  void make(const std::string& name, const Shape& shape, DType dtype, double value) {
    buffers_.emplace_back(op_.device, (shape.numel() + shift_) * size_of(dtype), name);
    tensors_.tensors_[name] = buffers_.back().tensor(shift_ * size_of(dtype), shape, dtype);
    if (dtype != DType::i32) set(name, filled(shape, value));
  }
  void set(const std::string& name, const Array<double>& values) {
    const Tensor tensor = tensors_[name];
    const Buffer host(Device::cpu, tensor.bytes(), name);
    const Tensor from = host.tensor(0, tensor.shape, tensor.dtype);
    put(from, values);
    copy(stream_, tensor, from);
    synchronize(stream_);
  }
  void keep(const std::string& name) {
    Buffer host;
    const Tensor tensor = on_host(stream_, tensors_[name], host);
    results[name] = get(tensor);
    bytes[name] = std::string(static_cast<const char*>(tensor.data), size_t(tensor.bytes()));
  }

  Op op_;
  int64_t shift_;
  Stream stream_;
  std::vector<Buffer> buffers_;
  Tensors tensors_;
};

namespace {

double largest(const Array<double>& values) {
  double out = 0;
  for (double value : values.data) out = std::max(out, std::abs(value));
  return out;
}

// Element by element, relative to the largest, and the angle between the two.
void expect_near(const std::string& name, const Array<double>& got, const Array<double>& want,
                 double tolerance, double least) {
  const double scale = std::max(largest(want), least);
  double dot = 0, got_squares = 0, want_squares = 0;
  for (int64_t i = 0; i < want.numel(); ++i) {
    if (!std::isfinite(want[i]) && got[i] == want[i]) continue;
    ASSERT_LE(std::abs(got[i] - want[i]), tolerance * scale)
        << name << "[" << i << "] is " << got[i] << ", should be " << want[i];
    dot += got[i] * want[i], got_squares += got[i] * got[i], want_squares += want[i] * want[i];
  }
  if (scale > least) {
    EXPECT_GE(dot / std::sqrt(got_squares * want_squares),
              1 - std::max(tolerance * tolerance, 1e-14))
        << name << " points elsewhere";
  }
}

// The derivatives that the reference implies of
//   sum over outputs and their elements of the output times the gradient that arrives there.
class Derivatives {
 public:
  Derivatives(const OpCase& op_case, const Values<double>& values) : case_(op_case), real_(values) {
    for (const auto& [name, array] : values) {
      complex_[name] = Array<Complex>(array.shape);
      std::copy(array.data.begin(), array.data.end(), complex_[name].data.begin());
    }
  }

  // Along a direction in the input `name`.
  double along(const std::string& name, const Array<double>& direction) const {
    constexpr double kStep = 1e-40, kDifference = 1e-5;
    if (case_.reference.complex)
      return objective(complex_, case_.reference.complex, name, direction, Complex(0, kStep))
                 .imag() /
             kStep;
    return (objective(real_, case_.reference.real, name, direction, kDifference) -
            objective(real_, case_.reference.real, name, direction, -kDifference)) /
           (2 * kDifference);
  }

 private:
  template <class S>
  S objective(Values<S> v, const std::function<void(Values<S>&)>& formula, const std::string& name,
              const Array<double>& direction, S step) const {
    Array<S>& moved = v.at(name);
    for (int64_t i = 0; i < moved.numel(); ++i) moved[i] += step * direction[i];
    formula(v);
    S sum = 0;
    for (const Slot& slot : case_.outputs) {
      const Array<S>& output = v.at(slot.name);
      const Array<double>& gradient = real_.at("d" + slot.name);
      for (int64_t i = 0; i < output.numel(); ++i) sum += gradient[i] * output[i];
    }
    return sum;
  }

  const OpCase& case_;
  Values<double> real_;
  Values<Complex> complex_;
};

// Single elements: all where there are few, else the first, the last and some between them; then,
// so that no element escapes, random signs on all.
std::vector<Array<double>> directions(const Shape& shape) {
  constexpr int64_t kMost = 96;
  std::vector<Array<double>> out;
  const int64_t count = shape.numel(), singles = std::min(count, kMost);
  for (int64_t k = 0; k < singles; ++k) {
    out.emplace_back(shape);
    out.back()[count <= kMost ? k : k * (count - 1) / (kMost - 1)] = 1;
  }
  for (uint64_t k = 0; count > kMost && k < 4; ++k) {
    const Random random(k, "directions");
    out.emplace_back(shape);
    for (int64_t i = 0; i < count; ++i) out.back()[i] = random.uniform(uint64_t(i)) < 0.5 ? -1 : 1;
  }
  return out;
}

void check_derivatives(const OpCase& op_case, const Values<double>& values, const OpRun& run,
                       double tolerance) {
  const Derivatives derivatives(op_case, values);
  for (const Slot& slot : op_case.inputs) {
    if (slot.grad == Slot::Grad::none) continue;
    Array<double> got = run.results.at("d" + slot.name);
    for (double& value : got.data) {
      ASSERT_TRUE(std::isfinite(value)) << "d" << slot.name << " was left unwritten";
      value -= slot.grad == Slot::Grad::added ? Tensors::kBefore : 0;
    }
    const double scale = std::max(largest(got), op_case.least);
    for (const Array<double>& along : directions(slot.shape)) {
      double dot = 0, length = 0;
      for (int64_t i = 0; i < got.numel(); ++i) {
        dot += got[i] * along[i];
        length += std::abs(along[i]);
      }
      ASSERT_NEAR(dot, derivatives.along(slot.name, along), tolerance * scale * std::sqrt(length))
          << "d" << slot.name;
    }
  }
}

void check_bits(const Op& op, const OpCase& op_case, const Values<double>& values,
                const OpRun& first) {
  const int before = omp_get_max_threads();
  const bool gpu = op.device == Device::cuda;  // where tensors begin on 16 bytes
  for (int threads : gpu ? std::vector{1, 1} : std::vector{1, 2, 3})
    for (int64_t shift : {0, gpu ? 8 : 1}) {
      omp_set_num_threads(threads);
      const OpRun again(op_case, op, values, shift);
      omp_set_num_threads(before);
      for (const auto& [name, bytes] : first.bytes)
        EXPECT_TRUE(again.bytes.at(name) == bytes)
            << name << " has other bits on " << threads << " threads, " << shift << " elements on";
    }
}

}  // namespace

void check_op(const Op& op, const OpCase& op_case) {
  const Values<double> values = values_of(op_case, op.dtype);
  const OpRun run(op_case, op, values, 0);
  const bool exact = op.dtype == DType::f64;
  const double tolerance = op.tolerance * (exact ? 1 : op_case.slack);
  Values<double> want = values;
  op_case.reference.real(want);
  for (const Slot& slot : op_case.outputs)
    expect_near(slot.name, run.results.at(slot.name), want.at(slot.name), tolerance, op_case.least);
  if (op_case.backward && exact) {
    check_derivatives(op_case, values, run, op_case.reference.complex ? tolerance : 1e-8);
  } else if (op_case.backward) {
    const OpRun truth(op_case, {Device::cpu, DType::f64, 0}, values, 0);
    for (const Slot& slot : op_case.inputs)
      if (slot.grad != Slot::Grad::none)
        expect_near("d" + slot.name, run.results.at("d" + slot.name),
                    truth.results.at("d" + slot.name), tolerance, op_case.least);
  }
  check_bits(op, op_case, values, run);
}

void expect_error(const std::function<void()>& call, const std::string& text) {
  try {
    call();
    ADD_FAILURE() << "no Error, though one should say: " << text;
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
  }
}

}  // namespace limpid
