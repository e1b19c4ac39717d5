#pragma once

#include <map>
#include <string>
#include <vector>

#include "model/model.h"
#include "optim/optimizer.h"

namespace limpid {

// One tensor of a safetensors file, widened to f64.
struct GoldenTensor {
  Shape shape;
  std::vector<double> values;
};
using GoldenTensors = std::map<std::string, GoldenTensor>;

// A tiny model's training trace (tests/golden/README.md).
struct Golden {
  struct Steps {
    OptimizerConfig optimizer;
    std::vector<double> losses;  // before each step
    double final_norm = 0;       // L2 of all parameters after the last
  };
  ModelConfig config;
  GoldenTensors weights;                 // by our names
  GoldenTensors gradients;               // by our names, of the first batch
  GoldenTensor logits;                   // (B,T,V) of the first batch
  std::vector<int32_t> tokens, targets;  // (batches,B,T)
  int64_t batches = 0, B = 0, T = 0;
  double loss = 0, grad_norm = 0;
  std::map<std::string, Steps> optimizers;
};

// name: a folder of tests/golden.
Golden load_golden(const std::string& name);

}  // namespace limpid
