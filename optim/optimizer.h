#pragma once

#include <memory>
#include <vector>

#include "core/fields.h"
#include "kernels/update.h"
#include "parallel/param.h"

namespace limpid {

enum class OptimizerKind { adamw, lamb, lars, sgd };
enum class Storage { f32, bf16 };

struct OptimizerConfig {
  OptimizerKind kind = OptimizerKind::adamw;
  double lr = 1e-3;  // the peak; the schedule scales it
  double beta1 = 0.9, beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;
  double momentum = 0.9;
  bool nesterov = false;
  double trust = 0.001;
  double clip = 1;  // largest global gradient norm; 0 means no clipping
  // Of masters and moments. bf16: no masters, and values and moments are rounded at random; for a
  // model in bf16.
  Storage storage = Storage::f32;
  // Which parameters go without weight decay, and without LAMB's and LARS's trust ratio: "1d" (all
  // of one dim) or names, * for any text.
  std::vector<std::string> no_decay = {"1d"};
  std::vector<std::string> no_trust = {"1d"};

  void fields(Fields&);
  void check(Problems&) const;
};

// Whether a rule of no_decay or no_trust means this parameter.
bool matches(const std::string& rule, const Param&);

// Moves parameters against their gradients. Implementations: AdamW, LAMB, LARS, SGD.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  // Step number `step` (from 1) with learning rate lr; gradients are scaled by clip (1). Nothing
  // moves where that is NaN.
  virtual void update(Stream&, int64_t step, double lr, Tensor clip) = 0;

  // What a checkpoint holds: "master/NAME" where masters are apart, "m/NAME", "v/NAME".
  std::vector<std::pair<std::string, Tensor>> state() const;
  // Masters take the values, after these were filled.
  void adopt_values(Stream&);
  int64_t bytes() const { return buffer_.bytes(); }

 protected:
  // moments: 1, m; or 2, m and v.
  Optimizer(const OptimizerConfig&, Params&, Device, uint64_t seed, int moments);
  const OptimizerConfig config_;
  // One for each parameter, in their order. The master weight is the value itself where that is f32
  // or wider, or where storage is bf16; then there is no copy.
  std::vector<UpdateTensors> tensors_;

 private:
  std::vector<std::string> names_;  // of tensors_
  Buffer buffer_;
};

// seed: of what rounds at random.
std::unique_ptr<Optimizer> make_optimizer(const OptimizerConfig&, Params&, Device,
                                          uint64_t seed = 0);
// Bytes of moments and masters for that many parameters of a dtype, alignment left out.
int64_t optimizer_bytes(const OptimizerConfig&, int64_t parameters, DType);

}  // namespace limpid
