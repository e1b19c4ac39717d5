#include "optim/optimizer.h"

#include <utility>

#include "optim/adamw.h"
#include "optim/lamb.h"
#include "optim/lars.h"
#include "optim/sgd.h"

namespace limpid {
namespace {

// Whether text fits pattern, in which each * stands for any text.
bool fits(std::string_view pattern, std::string_view text) {
  if (pattern.empty()) return text.empty();
  if (pattern[0] != '*')
    return !text.empty() && pattern[0] == text[0] && fits(pattern.substr(1), text.substr(1));
  for (size_t skip = 0; skip <= text.size(); ++skip)
    if (fits(pattern.substr(1), text.substr(skip))) return true;
  return false;
}

bool any_matches(const std::vector<std::string>& rules, const Param& param) {
  for (const std::string& rule : rules)
    if (matches(rule, param)) return true;
  return false;
}

// The dtype of masters and moments of values of a dtype.
DType storage_dtype(const OptimizerConfig& config, DType value) {
  if (config.storage == Storage::f32) return accum_dtype(value);
  require(value == DType::bf16,
          "optimizer.storage = \"bf16\" is for model.dtype = \"bf16\", and this model is {}",
          value);
  return value;
}

int64_t moments_of(OptimizerKind kind) {
  return kind == OptimizerKind::adamw || kind == OptimizerKind::lamb ? 2 : 1;
}

}  // namespace

void OptimizerConfig::fields(Fields& f) {
  static constexpr const char* kKinds[] = {"adamw", "lamb", "lars", "sgd"};
  static constexpr const char* kStorages[] = {"f32", "bf16"};
  constexpr Range kDecayRate = {0, 0.9999999};
  f.field("kind", kind, kKinds, "adamw; lamb and lars for large batches; sgd with momentum");
  f.field("lr", lr, "learning rate at its peak", {0, 1e6});
  f.field("beta1", beta1, "decay of the first moment (adamw, lamb)", kDecayRate);
  f.field("beta2", beta2, "decay of the second moment (adamw, lamb)", kDecayRate);
  f.field("eps", eps, "added to the denominator (adamw, lamb, lars)", kFraction);
  f.field("weight_decay", weight_decay,
          "decoupled (adamw, lamb) or added to the gradient (lars, sgd)", {0, 100});
  f.field("momentum", momentum, "of lars and sgd", kDecayRate);
  f.field("nesterov", nesterov, "look ahead (sgd)");
  f.field("trust", trust, "trust coefficient (lars)", {0, 1e6});
  f.field("clip", clip, "largest norm of all gradients together; 0 means no clipping", {0, 1e30});
  f.field("storage", storage, kStorages,
          "masters and moments; bf16, for a model in bf16: no masters, rounded at random");
  f.field("no_decay", no_decay,
          "without weight decay: \"1d\" (parameters of one dim) or names with *");
  f.field("no_trust", no_trust, "without trust ratio (lamb, lars): likewise");
}

void OptimizerConfig::check(Problems& p) const {
  p.require(kind == OptimizerKind::sgd || !nesterov, "nesterov", "is for kind = \"sgd\"");
}

bool matches(const std::string& rule, const Param& param) {
  return rule == "1d" ? param.shape.rank() <= 1 : fits(rule, param.name);
}

Optimizer::Optimizer(const OptimizerConfig& config, Params& params, Device device, uint64_t seed,
                     int moments)
    : config_(config) {
  int64_t bytes = 0;
  const auto place = [&](const Param& param) {
    const int64_t at = bytes;
    bytes += aligned(param.shape.numel() * size_of(storage_dtype(config, param.value.dtype)));
    return at;
  };
  std::vector<int64_t> offsets;
  for (const Param& param : params) {
    const bool apart = storage_dtype(config, param.value.dtype) != param.value.dtype;
    for (int i = 0; i < moments + apart; ++i) offsets.push_back(place(param));
  }
  buffer_ = Buffer(device, bytes, "optimizer");
  auto next = offsets.begin();
  for (const Param& param : params) {
    const DType dtype = storage_dtype(config, param.value.dtype);
    const auto take = [&] { return buffer_.tensor(*next++, param.shape, dtype); };
    UpdateTensors tensors{
        .p = param.value,
        .copy = {},
        .m = take(),
        .v = {},
        .g = param.grad,
        .key = Random(seed, "rounding." + param.name).key(),
        .decay = any_matches(config.no_decay, param) ? 0 : float(config.weight_decay),
        .adapt = !any_matches(config.no_trust, param)};
    if (moments == 2) tensors.v = take();
    if (dtype != param.value.dtype) tensors.copy = std::exchange(tensors.p, take());
    tensors_.push_back(tensors);
    names_.push_back(param.name);
  }
}

std::vector<std::pair<std::string, Tensor>> Optimizer::state() const {
  std::vector<std::pair<std::string, Tensor>> out;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const UpdateTensors& tensors = tensors_[i];
    if (tensors.copy) out.emplace_back("master/" + names_[i], tensors.p);
    out.emplace_back("m/" + names_[i], tensors.m);
    if (tensors.v) out.emplace_back("v/" + names_[i], tensors.v);
  }
  return out;
}

void Optimizer::adopt_values(Stream& stream) {
  for (const UpdateTensors& tensors : tensors_)
    if (tensors.copy) copy(stream, tensors.p, tensors.copy);
}

std::unique_ptr<Optimizer> make_optimizer(const OptimizerConfig& config, Params& params,
                                          Device device, uint64_t seed) {
  switch (config.kind) {
    case OptimizerKind::adamw:
      return std::make_unique<AdamW>(config, params, device, seed);
    case OptimizerKind::lamb:
      return std::make_unique<Lamb>(config, params, device, seed);
    case OptimizerKind::lars:
      return std::make_unique<Lars>(config, params, device, seed);
    case OptimizerKind::sgd:
      return std::make_unique<Sgd>(config, params, device, seed);
  }
  fail("an unknown optimizer");
}

int64_t optimizer_bytes(const OptimizerConfig& config, int64_t parameters, DType dtype) {
  const DType stored = storage_dtype(config, dtype);
  return (moments_of(config.kind) + (stored != dtype)) * parameters * size_of(stored);
}

}  // namespace limpid
