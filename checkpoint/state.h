#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace limpid {

struct NamedTensor {
  std::string name;  // "layers.0.attention.q.weight"
  Tensor tensor;     // whole, never a rank's part
};

// What a run needs to go on from a step as if nothing had happened.
struct State {
  int64_t step = 0;                         // optimizer steps done
  std::vector<NamedTensor> model;           // model.h5, by name
  std::vector<NamedTensor> optimizer;       // optimizer.h5; names begin with m/, v/, master/
  std::map<std::string, int64_t> counters;  // samples, tokens, attempt ...
};

// One step as the journal and /metrics tell it. A step done again after a restart has two records.
struct StepRecord {
  int64_t attempt = 0;  // how many times the run had been started, from 1
  int64_t step = 0;     // the number of steps done once this one is
  int64_t tokens = 0;   // since step 0
  int64_t first_sample = 0, samples = 0;
  double loss = 0;  // mean, nats a token
  double lr = 0, grad_norm = 0, seconds = 0;
  bool skipped = false;    // not finite: the parameters stayed as they were
  std::string digest;      // of the parameters after the step, 32 hex digits
  std::string order_hash;  // of the ids of its samples

  bool operator==(const StepRecord&) const = default;
};

// Something that happened to the run: a restart, a skipped step, an accepted change.
struct Event {
  int64_t step = 0;
  double time = 0;  // unix seconds
  std::string kind, text;

  bool operator==(const Event&) const = default;
};

// The score of one validation set.
struct ValidationRecord {
  int64_t step = 0;
  std::string name;
  double loss = 0;  // mean, nats a token
  double perplexity = 0;

  bool operator==(const ValidationRecord&) const = default;
};

// The samples of the steps since the checkpoint before, one entry a sample, in the order of use.
struct OrderLog {
  std::vector<int64_t> step, epoch, window;
  std::vector<int32_t> corpus;

  bool operator==(const OrderLog&) const = default;
};

// How a state came about from the checkpoint before: account.h5.
struct Account {
  std::string recipe;            // resolved, TOML with the origin of each value as comments
  std::string config_json;       // the same values
  std::string tokenizer;         // the bytes of its model file
  std::string data_json;         // paths, hashes, tokens and windows of the data
  std::string environment_json;  // commit, compiler, libraries, host, threads
  OrderLog order;
  std::vector<StepRecord> metrics;  // of the steps since the checkpoint before
  std::vector<ValidationRecord> validation;
  std::vector<Event> events;
};

}  // namespace limpid
