#include "tests/support/golden.h"

#include <cstring>
#include <nlohmann/json.hpp>

#include "core/file.h"

namespace limpid {
namespace {

using Json = nlohmann::json;

const Path kFolder = Path(LIMPID_SOURCE) / "tests" / "golden";

GoldenTensors read_safetensors(const Path& path) {
  const std::string bytes = read_text(path);
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), 8);
  const Json header = Json::parse(bytes.substr(8, header_bytes));
  GoldenTensors out;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    GoldenTensor tensor;
    for (int64_t dim : entry["shape"]) tensor.shape.append(dim);
    const char* data = bytes.data() + 8 + header_bytes + entry["data_offsets"][0].get<int64_t>();
    for (int64_t i = 0; i < tensor.shape.numel(); ++i) {
      if (entry["dtype"] == "I64") {
        int64_t value;
        std::memcpy(&value, data + 8 * i, 8);
        tensor.values.push_back(double(value));
      } else {
        float value;
        std::memcpy(&value, data + 4 * i, 4);
        tensor.values.push_back(double(value));
      }
    }
    out[name] = std::move(tensor);
  }
  return out;
}

GoldenTensor transposed(const GoldenTensor& in) {
  const int64_t R = in.shape[0], C = in.shape[1];
  GoldenTensor out{{C, R}, std::vector<double>(in.values.size())};
  for (int64_t r = 0; r < R; ++r)
    for (int64_t c = 0; c < C; ++c) out.values[size_t(c * R + r)] = in.values[size_t(r * C + c)];
  return out;
}

GoldenTensor rows(const GoldenTensor& in, int64_t begin, int64_t end) {
  GoldenTensor out{in.shape, {}};
  const int64_t stride = in.shape.numel() / in.shape[0];
  out.shape[0] = end - begin;
  out.values.assign(in.values.begin() + begin * stride, in.values.begin() + end * stride);
  return out;
}

std::string replace(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

// Hugging Face's names and layouts of GPT-2 (weights are (in,out), q|k|v in one) as ours.
void add_gpt2(GoldenTensors& out, std::string name, const GoldenTensor& given) {
  for (const auto& [from, to] : {std::pair{"transformer.", ""},
                                 {"wte.", "embedding."},
                                 {"wpe.", "positions."},
                                 {"ln_f.", "norm."},
                                 {"h.", "layers."},
                                 {".ln_1.", ".norm1."},
                                 {".ln_2.", ".norm2."},
                                 {"attn.c_proj", "attention.o"},
                                 {"mlp.c_fc", "mlp.up"},
                                 {"mlp.c_proj", "mlp.down"}})
    name = replace(name, from, to);
  const bool swap = given.shape.rank() == 2 && name.starts_with("layers.");
  const GoldenTensor tensor = swap ? transposed(given) : given;
  if (name.find("attn.c_attn") == std::string::npos) {
    out[name] = tensor;
    return;
  }
  const int64_t third = tensor.shape[0] / 3;
  for (int64_t i = 0; i < 3; ++i)
    out[replace(name, "attn.c_attn", std::string("attention.") + "qkv"[i])] =
        rows(tensor, i * third, (i + 1) * third);
}

void add_llama(GoldenTensors& out, std::string name, const GoldenTensor& tensor) {
  for (const auto& [from, to] : {std::pair{"model.", ""},
                                 {"embed_tokens", "embedding"},
                                 {"lm_head", "head"},
                                 {"input_layernorm", "norm1"},
                                 {"post_attention_layernorm", "norm2"},
                                 {"self_attn.q_proj", "attention.q"},
                                 {"self_attn.k_proj", "attention.k"},
                                 {"self_attn.v_proj", "attention.v"},
                                 {"self_attn.o_proj", "attention.o"},
                                 {"gate_proj", "gate"},
                                 {"up_proj", "up"},
                                 {"down_proj", "down"}})
    name = replace(name, from, to);
  out[name] = tensor;
}

ModelConfig read_config(const Json& json) {
  ModelConfig c;
  c.vocab = json["vocab_size"];
  if (json["model_type"] == "gpt2") {
    c.kind = ModelKind::gpt;
    c.layers = json["n_layer"];
    c.width = json["n_embd"];
    c.heads = json["n_head"];
    c.hidden = json["n_inner"];
    c.context = json["n_positions"];
    c.norm_eps = json["layer_norm_epsilon"];
    return c;
  }
  c.layers = json["num_hidden_layers"];
  c.width = json["hidden_size"];
  c.heads = json["num_attention_heads"];
  c.kv_heads = json["num_key_value_heads"];
  c.hidden = json["intermediate_size"];
  c.context = json["max_position_embeddings"];
  c.norm_eps = json["rms_norm_eps"];
  c.rope_theta = json["rope_theta"];
  c.tied_head = json["tie_word_embeddings"];
  return c;
}

Golden::Steps read_steps(const std::string& kind, const Json& json) {
  Golden::Steps steps{
      .optimizer = {}, .losses = json["losses"], .final_norm = json["final_param_l2"]};
  OptimizerConfig& o = steps.optimizer;
  const Json& hyper = json["hyper"];
  o.kind = kind == "adamw"  ? OptimizerKind::adamw
           : kind == "lamb" ? OptimizerKind::lamb
                            : OptimizerKind::lars;
  o.lr = hyper["lr"];
  o.beta1 = hyper.value("beta1", 0.9);
  o.beta2 = hyper.value("beta2", 0.999);
  o.momentum = hyper.value("momentum", 0.9);
  o.trust = hyper.value("trust", 0.0);
  o.eps = hyper["eps"];
  o.weight_decay = hyper["weight_decay"];
  o.clip = hyper["clip"];
  return steps;
}

}  // namespace

Golden load_golden(const std::string& name) {
  const Path folder = kFolder / name;
  const Json config = Json::parse(read_text(folder / "config.json"));
  const Json trace = Json::parse(read_text(folder / "trace.json"));
  Golden out;
  out.config = read_config(config);
  const auto add = config["model_type"] == "gpt2" ? add_gpt2 : add_llama;
  for (const auto& [weight, tensor] : read_safetensors(folder / "model.safetensors"))
    add(out.weights, weight, tensor);
  GoldenTensors arrays = read_safetensors(folder / "trace.safetensors");
  for (const auto& [key, tensor] : arrays)
    if (key.starts_with("grad.")) add(out.gradients, key.substr(5), tensor);
  out.logits = arrays.at("logits");
  const GoldenTensor& tokens = arrays.at("tokens");
  out.batches = tokens.shape[0];
  out.B = tokens.shape[1];
  out.T = tokens.shape[2] - 1;
  for (int64_t row = 0; row < out.batches * out.B; ++row)
    for (int64_t t = 0; t < out.T; ++t) {
      out.tokens.push_back(int32_t(tokens.values[size_t(row * (out.T + 1) + t)]));
      out.targets.push_back(int32_t(tokens.values[size_t(row * (out.T + 1) + t + 1)]));
    }
  out.loss = trace["loss"];
  out.grad_norm = trace["grad_norm"];
  for (const auto& [kind, steps] : trace["optimizers"].items())
    out.optimizers[kind] = read_steps(kind, steps);
  return out;
}

}  // namespace limpid
