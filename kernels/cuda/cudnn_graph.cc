#include "kernels/cuda/cudnn_graph.h"

#include <cudnn.h>

#include <array>

#include "core/error.h"

namespace limpid::cuda::cudnn {
namespace {

using Handle = cudnnBackendDescriptor_t;
using Name = cudnnBackendAttributeName_t;

template <class T>
inline constexpr cudnnBackendAttributeType_t kTypeOf = CUDNN_TYPE_INT64;
template <>
inline constexpr auto kTypeOf<bool> = CUDNN_TYPE_BOOLEAN;
template <>
inline constexpr auto kTypeOf<char> = CUDNN_TYPE_CHAR;
template <>
inline constexpr auto kTypeOf<Handle> = CUDNN_TYPE_BACKEND_DESCRIPTOR;
template <>
inline constexpr auto kTypeOf<int32_t> = CUDNN_TYPE_INT32;
template <>
inline constexpr auto kTypeOf<cudnnDataType_t> = CUDNN_TYPE_DATA_TYPE;
template <>
inline constexpr auto kTypeOf<cudnnPointwiseMode_t> = CUDNN_TYPE_POINTWISE_MODE;
template <>
inline constexpr auto kTypeOf<cudnnReduceTensorOp_t> = CUDNN_TYPE_REDUCTION_OPERATOR_TYPE;
template <>
inline constexpr auto kTypeOf<cudnnBackendHeurMode_t> = CUDNN_TYPE_HEUR_MODE;

Descriptor make(cudnnBackendDescriptorType_t type) {
  Handle out = nullptr;
  check(cudnnBackendCreateDescriptor(type, &out), "make a descriptor");
  return Descriptor(out);
}

// A descriptor, attribute by attribute.
class Writer {
 public:
  explicit Writer(cudnnBackendDescriptorType_t type) : descriptor_(make(type)) {}

  template <class T>
  Writer& set(Name name, const T* values, size_t count,
              cudnnBackendAttributeType_t type = kTypeOf<T>) {
    check(cudnnBackendSetAttribute(descriptor_.get(), name, type, int64_t(count), values),
          "set an attribute");
    return *this;
  }
  template <class T>
  Writer& set(Name name, const T& value) {
    return set(name, &value, 1);
  }
  Descriptor finish() {
    check(cudnnBackendFinalize(descriptor_.get()), "finish a descriptor");
    return std::move(descriptor_);
  }
  // Null where cuDNN cannot do what is described.
  Descriptor try_finish() {
    if (cudnnBackendFinalize(descriptor_.get()) != CUDNN_STATUS_SUCCESS) descriptor_.reset();
    return std::move(descriptor_);
  }

 private:
  Descriptor descriptor_;
};

struct Layout {
  std::array<int64_t, 4> dims, strides;

  Layout transposed() const {
    Layout out = *this;
    std::swap(out.dims[2], out.dims[3]);
    std::swap(out.strides[2], out.strides[3]);
    return out;
  }
};
Layout rows_first(int64_t a, int64_t b, int64_t c, int64_t d) {
  return {{a, b, c, d}, {b * c * d, c * d, d, 1}};
}

// Operations in order, and the tensors between them.
class Operations {
 public:
  // A tensor that the caller has.
  Handle given(AttentionTensor id, const Layout& layout, cudnnDataType_t type) {
    return tensor(id, layout, type, false, false);
  }
  Handle number(AttentionTensor id) {
    return tensor(id, rows_first(1, 1, 1, 1), CUDNN_DATA_FLOAT, false, true);
  }
  // One that lives inside the fused kernel.
  Handle between(const Layout& layout, cudnnDataType_t type = CUDNN_DATA_FLOAT) {
    return tensor(next_id_++, layout, type, true, false);
  }

  // y = a b
  Handle multiply(Handle y, Handle a, Handle b) {
    const Handle how = keep(Writer(CUDNN_BACKEND_MATMUL_DESCRIPTOR)
                                .set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_DATA_FLOAT)
                                .finish());
    operations_.push_back(keep(Writer(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR)
                                   .set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, a)
                                   .set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, b)
                                   .set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, y)
                                   .set(CUDNN_ATTR_OPERATION_MATMUL_DESC, how)
                                   .finish()));
    return y;
  }
  // y = the sum or maximum of x over the dims in which y is 1, or over groups of heads.
  Handle reduce(Handle y, cudnnReduceTensorOp_t op, Handle x) {
    const Handle how = keep(Writer(CUDNN_BACKEND_REDUCTION_DESCRIPTOR)
                                .set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_DATA_FLOAT)
                                .set(CUDNN_ATTR_REDUCTION_OPERATOR, op)
                                .finish());
    operations_.push_back(keep(Writer(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR)
                                   .set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x)
                                   .set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y)
                                   .set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, how)
                                   .finish()));
    return y;
  }
  // y = mode(x) or mode(x, b), element by element, b broadcast.
  Handle map(Handle y, cudnnPointwiseMode_t mode, Handle x, Handle b = nullptr) {
    return pointwise(y,
                     Writer(CUDNN_BACKEND_POINTWISE_DESCRIPTOR)
                         .set(CUDNN_ATTR_POINTWISE_MODE, mode)
                         .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT),
                     x, b);
  }
  // y = the row or column (axis 2 or 3) of each element of x
  Handle index(Handle y, int64_t axis, Handle x) {
    return pointwise(y,
                     Writer(CUDNN_BACKEND_POINTWISE_DESCRIPTOR)
                         .set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_POINTWISE_GEN_INDEX)
                         .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT)
                         .set(CUDNN_ATTR_POINTWISE_AXIS, axis),
                     x);
  }
  // y = a >= b
  Handle at_least(Handle y, Handle a, Handle b) {
    return pointwise(y,
                     Writer(CUDNN_BACKEND_POINTWISE_DESCRIPTOR)
                         .set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_POINTWISE_CMP_GE)
                         .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_BOOLEAN),
                     a, b);
  }
  // y = where ? x : other
  Handle select(Handle y, Handle where, Handle x, Handle other) {
    return pointwise(y,
                     Writer(CUDNN_BACKEND_POINTWISE_DESCRIPTOR)
                         .set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_POINTWISE_BINARY_SELECT)
                         .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT),
                     x, other, where);
  }
  // y = x in another layout or dtype
  Handle reshape(Handle y, Handle x) {
    operations_.push_back(keep(Writer(CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR)
                                   .set(CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x)
                                   .set(CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y)
                                   .finish()));
    return y;
  }

  // The whole as one graph, or null where cuDNN knows none like it.
  Descriptor graph() const {
    return Writer(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)
        .set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operations_.data(), operations_.size())
        .try_finish();
  }
  std::vector<Descriptor> take_parts() { return std::move(parts_); }

 private:
  Handle keep(Descriptor descriptor) { return parts_.emplace_back(std::move(descriptor)).get(); }
  Handle tensor(int64_t id, const Layout& layout, cudnnDataType_t type, bool is_virtual,
                bool by_value) {
    const int64_t alignment = 16;
    return keep(Writer(CUDNN_BACKEND_TENSOR_DESCRIPTOR)
                    .set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id)
                    .set(CUDNN_ATTR_TENSOR_DATA_TYPE, type)
                    .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, alignment)
                    .set(CUDNN_ATTR_TENSOR_DIMENSIONS, layout.dims.data(), layout.dims.size())
                    .set(CUDNN_ATTR_TENSOR_STRIDES, layout.strides.data(), layout.strides.size())
                    .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, is_virtual)
                    .set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, by_value)
                    .finish());
  }
  Handle pointwise(Handle y, Writer& how, Handle x, Handle b = nullptr, Handle t = nullptr) {
    Writer operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, keep(how.finish()))
        .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    if (b) operation.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
    if (t) operation.set(CUDNN_ATTR_OPERATION_POINTWISE_TDESC, t);
    operations_.push_back(keep(operation.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y).finish()));
    return y;
  }

  std::vector<Descriptor> parts_;
  std::vector<Handle> operations_;
  int64_t next_id_ = 100;
};

// The layouts of a shape's tensors.
struct Layouts {
  explicit Layouts(const AttentionShape& s)
      : q(packed(s, s.H)),
        kv(packed(s, s.K)),
        o{{s.B, s.H, s.T, s.D}, {s.T * s.H * s.D, s.D, s.H * s.D, 1}},
        scores(rows_first(s.B, s.H, s.T, s.T)),
        row(rows_first(s.B, s.H, s.T, 1)),
        heads(rows_first(s.B, s.H, s.T, s.D)) {}
  static Layout packed(const AttentionShape& s, int64_t heads) {
    const int64_t token = (s.H + 2 * s.K) * s.D;
    return {{s.B, heads, s.T, s.D}, {s.T * token, s.D, token, 1}};
  }

  Layout q, kv, o, scores, row, heads;
};

// x where the column is not after the row, else minus infinity.
Handle causal(Operations& ops, const Layout& scores, Handle x) {
  const Handle row = ops.index(ops.between(scores, CUDNN_DATA_INT32), 2, x);
  const Handle column = ops.index(ops.between(scores, CUDNN_DATA_INT32), 3, x);
  const Handle seen = ops.at_least(ops.between(scores, CUDNN_DATA_BOOLEAN), row, column);
  return ops.select(ops.between(scores), seen, x, ops.number(kMinusInfinity));
}

void add_forward(Operations& ops, const AttentionShape& shape) {
  const Layouts in(shape);
  const Handle q = ops.given(kQ, in.q, CUDNN_DATA_BFLOAT16);
  const Handle keys = ops.given(kK, in.kv.transposed(), CUDNN_DATA_BFLOAT16);
  const Handle v = ops.given(kV, in.kv, CUDNN_DATA_BFLOAT16);
  const Handle o = ops.given(kO, in.o, CUDNN_DATA_BFLOAT16);
  const Handle lse = ops.given(kLse, in.row, CUDNN_DATA_FLOAT);

  const Handle products = ops.multiply(ops.between(in.scores), q, keys);
  const Handle scaled =
      ops.map(ops.between(in.scores), CUDNN_POINTWISE_MUL, products, ops.number(kScale));
  const Handle scores = causal(ops, in.scores, scaled);
  const Handle most = ops.reduce(ops.between(in.row), CUDNN_REDUCE_TENSOR_MAX, scores);
  const Handle shifted = ops.map(ops.between(in.scores), CUDNN_POINTWISE_SUB, scores, most);
  const Handle exponents = ops.map(ops.between(in.scores), CUDNN_POINTWISE_EXP, shifted);
  const Handle sum = ops.reduce(ops.between(in.row), CUDNN_REDUCE_TENSOR_ADD, exponents);
  const Handle log_sum = ops.map(ops.between(in.row), CUDNN_POINTWISE_LOG, sum);
  ops.map(lse, CUDNN_POINTWISE_ADD, most, log_sum);
  const Handle p =
      ops.map(ops.between(in.scores, CUDNN_DATA_BFLOAT16), CUDNN_POINTWISE_DIV, exponents, sum);
  ops.multiply(o, p, v);
}

// d = left right, of a key's or value's head: the sum over the query heads that share it.
void add_shared_product(Operations& ops, const AttentionShape& shape, Handle d, Handle left,
                        Handle right) {
  if (shape.H == shape.K) {
    ops.multiply(d, left, right);
  } else {
    const Layout heads = rows_first(shape.B, shape.H, shape.T, shape.D);
    const Handle each = ops.multiply(ops.between(heads, CUDNN_DATA_BFLOAT16), left, right);
    ops.reduce(d, CUDNN_REDUCE_TENSOR_ADD, each);
  }
}

void add_backward(Operations& ops, const AttentionShape& shape) {
  const Layouts in(shape);
  const Handle q = ops.given(kQ, in.q, CUDNN_DATA_BFLOAT16);
  const Handle keys = ops.given(kK, in.kv.transposed(), CUDNN_DATA_BFLOAT16);
  const Handle values = ops.given(kV, in.kv.transposed(), CUDNN_DATA_BFLOAT16);
  const Handle o = ops.given(kO, in.o, CUDNN_DATA_BFLOAT16);
  const Handle dout = ops.given(kDout, in.o, CUDNN_DATA_BFLOAT16);
  const Handle lse = ops.given(kLse, in.row, CUDNN_DATA_FLOAT);
  const Handle dq = ops.given(kDq, in.q, CUDNN_DATA_BFLOAT16);
  const Handle dk = ops.given(kDk, in.kv, CUDNN_DATA_BFLOAT16);
  const Handle dv = ops.given(kDv, in.kv, CUDNN_DATA_BFLOAT16);
  const Handle scale = ops.number(kScale);

  const Layout by_token = {in.heads.dims,
                           {shape.H * shape.T * shape.D, shape.T * shape.D, shape.H * shape.D, 1}};
  const Handle dots = ops.reduce(ops.between(in.row), CUDNN_REDUCE_TENSOR_ADD,
                                 ops.map(ops.between(by_token), CUDNN_POINTWISE_MUL, dout, o));
  const Handle row_dots = ops.map(ops.given(kRowDots, in.row, CUDNN_DATA_FLOAT),
                                  CUDNN_POINTWISE_MUL, dots, ops.number(kOne));

  const Handle products = ops.multiply(ops.between(in.scores), q, keys);
  const Handle scaled = ops.map(ops.between(in.scores), CUDNN_POINTWISE_MUL, products, scale);
  const Handle shifted = ops.map(ops.between(in.scores), CUDNN_POINTWISE_SUB, scaled, lse);
  const Handle p =
      ops.map(ops.between(in.scores), CUDNN_POINTWISE_EXP, causal(ops, in.scores, shifted));
  const Layout turned = {in.scores.dims, in.scores.transposed().strides};
  add_shared_product(ops, shape, dv, ops.reshape(ops.between(turned, CUDNN_DATA_BFLOAT16), p),
                     dout);

  const Handle dp = ops.multiply(ops.between(in.scores), dout, values);
  const Handle centred = ops.map(ops.between(in.scores), CUDNN_POINTWISE_SUB, dp, row_dots);
  const Handle weighted = ops.map(ops.between(in.scores), CUDNN_POINTWISE_MUL, centred, p);
  const Handle ds = ops.map(ops.between(in.scores), CUDNN_POINTWISE_MUL, weighted, scale);
  add_shared_product(ops, shape, dk, ops.reshape(ops.between(turned, CUDNN_DATA_BFLOAT16), ds), q);

  const Handle k = ops.reshape(ops.between(in.kv, CUDNN_DATA_BFLOAT16), keys);
  if (shape.deterministic) {
    ops.multiply(dq, ds, k);
  } else {
    const Handle sums = ops.multiply(ops.given(kDqSums, in.heads, CUDNN_DATA_FLOAT), ds, k);
    ops.map(dq, CUDNN_POINTWISE_IDENTITY, sums);
  }
}

Descriptor device_properties(const std::string& json) {
  Writer writer(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  const int32_t device = 0;
  if (json.empty())
    writer.set(CUDNN_ATTR_DEVICEPROP_DEVICE_ID, device);
  else
    writer.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, json.data(), json.size());
  return writer.finish();
}

// What cuDNN guesses to be fastest, the best first; none where it has no engine.
std::vector<Descriptor> guesses(Handle graph, Handle device) {
  const Descriptor heuristics = Writer(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR)
                                    .set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph)
                                    .set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_HEUR_MODE_A)
                                    .set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device)
                                    .try_finish();
  if (!heuristics) return {};
  int64_t count = 0;
  const auto results = [&](int64_t room, Handle* out) {
    check(cudnnBackendGetAttribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                   CUDNN_TYPE_BACKEND_DESCRIPTOR, room, &count, out),
          "ask for engines");
  };
  results(0, nullptr);
  std::vector<Descriptor> out;
  std::vector<Handle> handles;
  for (int64_t i = 0; i < count; ++i) {
    out.push_back(make(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR));
    handles.push_back(out.back().get());
  }
  results(count, handles.data());
  out.resize(size_t(count));
  return out;
}

bool has_fixed_order(Handle guess) {
  const Descriptor engine = make(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  Handle handle = engine.get();
  int64_t count = 0;
  check(cudnnBackendGetAttribute(guess, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                 1, &count, &handle),
        "look at an engine");
  std::array<cudnnBackendNumericalNote_t, CUDNN_NUMERICAL_NOTE_TYPE_COUNT> notes;
  check(
      cudnnBackendGetAttribute(handle, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                               int64_t(notes.size()), &count, notes.data()),
      "look at an engine");
  for (int64_t i = 0; i < count; ++i)
    if (notes[size_t(i)] == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC) return false;
  return true;
}

int64_t workspace_of(Handle plan) {
  int64_t bytes = 0, count = 0;
  check(cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64,
                                 1, &count, &bytes),
        "ask for the size of a work space");
  return bytes;
}

}  // namespace

void Destroy::operator()(void* descriptor) const { cudnnBackendDestroyDescriptor(descriptor); }

void check(int status, const char* what) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  char text[1024] = {};
  cudnnGetLastErrorString(text, sizeof text);
  fail("cuDNN: {}: {}: {}", what, cudnnGetErrorString(cudnnStatus_t(status)),
       static_cast<const char*>(text));
}

AttentionGraph::AttentionGraph(const AttentionShape& shape, const std::string& device) {
  Operations operations;
  shape.backward ? add_backward(operations, shape) : add_forward(operations, shape);
  Descriptor graph = operations.graph();
  if (!graph) return;
  Descriptor properties = device_properties(device);
  for (Descriptor& guess : guesses(graph.get(), properties.get())) {
    if (shape.deterministic && !has_fixed_order(guess.get())) continue;
    Descriptor plan = Writer(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)
                          .set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, Handle(guess.get()))
                          .try_finish();
    if (!plan) continue;
    const int64_t bytes = workspace_of(plan.get());
    plans_.push_back({std::move(plan), bytes});
    parts_.push_back(std::move(guess));
  }
  for (Descriptor& part : operations.take_parts()) parts_.push_back(std::move(part));
  parts_.push_back(std::move(graph));
  parts_.push_back(std::move(properties));
}

void AttentionGraph::keep_only(size_t plan) {
  Plan kept = std::move(plans_[plan]);
  plans_.clear();
  plans_.push_back(std::move(kept));
}

Descriptor variant_pack(const std::vector<int64_t>& ids, const std::vector<void*>& data,
                        void* workspace) {
  return Writer(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)
      .set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids.data(), ids.size())
      .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, data.data(), data.size(), CUDNN_TYPE_VOID_PTR)
      .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, &workspace, 1, CUDNN_TYPE_VOID_PTR)
      .finish();
}

}  // namespace limpid::cuda::cudnn
