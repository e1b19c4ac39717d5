#include "tests/support/sample_state.h"

#include <cstring>
#include <map>

#include "core/random.h"

namespace limpid {

SampleState::SampleState(uint64_t seed, int64_t step) {
  state_.step = step;
  state_.counters = {{"samples", 8 * step}, {"tokens", 1024 * step}};
  const std::vector<std::pair<std::string, Shape>> shapes = {
      {"embedding.weight", {50, 24}},
      {"layers.0.norm.weight", {24}},
      {"layers.0.attention.q.weight", {24, 24}},
      {"layers.10.mlp.up.weight", {96, 24}},
      {"scale", {1}}};
  for (const auto& [name, shape] : shapes) {
    add(state_.model, name, shape, DType::bf16, seed);
    for (const char* kind : {"master/", "m/", "v/"})
      add(state_.optimizer, kind + name, shape, DType::f32, seed);
  }
}

void SampleState::add(std::vector<NamedTensor>& to, const std::string& name, Shape shape,
                      DType dtype, uint64_t seed) {
  buffers_.emplace_back(Device::cpu, shape.numel() * size_of(dtype), name);
  const Tensor tensor = buffers_.back().tensor(0, shape, dtype);
  const Random random(seed, name);
  for (int64_t i = 0; i < tensor.bytes(); ++i)
    static_cast<uint8_t*>(tensor.data)[i] = uint8_t(random.words(uint64_t(i))[0]);
  to.push_back({name, tensor});
}

void SampleState::clear() {
  for (Buffer& buffer : buffers_) std::memset(buffer.data(), 0, size_t(buffer.bytes()));
  state_.step = 0;
  state_.counters.clear();
}

std::string SampleState::bytes() const {
  std::map<std::string, std::string> by_name;
  for (const auto* tensors : {&state_.model, &state_.optimizer})
    for (const auto& [name, tensor] : *tensors)
      by_name[name] = {static_cast<const char*>(tensor.data), size_t(tensor.bytes())};
  std::string out;
  for (const auto& [name, bytes] : by_name) out += bytes;
  return out;
}

Account sample_account(int64_t step) {
  Account account;
  account.recipe = "# from the default\nseed = 7\n";
  account.config_json = R"({"seed": 7})";
  account.tokenizer = std::string("\0\1model", 7);
  account.data_json = R"({"corpora": []})";
  account.environment_json = R"({"host": "a"})";
  account.order = {{step - 1, step - 1, step}, {0, 0, 1}, {17, 3, 4}, {0, 1, 0}};
  for (int64_t s : {step - 1, step})
    account.metrics.push_back({.attempt = 1,
                               .step = s,
                               .tokens = 1024 * s,
                               .first_sample = 8 * s,
                               .samples = 8,
                               .loss = 1.0 / double(s + 1),
                               .lr = 1e-3,
                               .grad_norm = 0.5,
                               .seconds = 0.25,
                               .skipped = s == step,
                               .digest = "00112233445566778899aabbccddeeff",
                               .order_hash = "0123456789abcdef"});
  account.validation = {{step, "held-out", 2.5, 12.18}};
  account.events = {{step, 1.7e9, "start", "the first \"start\""}};
  return account;
}

}  // namespace limpid
