#include "checkpoint/account.h"

#include <algorithm>
#include <ranges>

namespace limpid {
namespace {

template <class T>
void write_column(hdf5::Writer& file, const std::string& name, const std::vector<T>& values) {
  file.table(name, {const_cast<T*>(values.data()), {int64_t(values.size())}, dtype_of<T>});
}

// A member of each record as a column of its own.
template <class Record, class T>
void write_member(hdf5::Writer& file, const std::string& name, const std::vector<Record>& records,
                  T Record::*member) {
  std::vector<T> values;
  for (const Record& record : records) values.push_back(record.*member);
  if constexpr (std::same_as<T, std::string>)
    file.texts(name, values);
  else
    write_column(file, name, values);
}

// The first column read makes the records; all must be of one length.
template <class Record, class T>
void read_member(const hdf5::Reader& file, const std::string& name, std::vector<Record>& records,
                 T Record::*member) {
  const std::vector<T> values = [&] {
    if constexpr (std::same_as<T, std::string>)
      return file.texts(name);
    else
      return file.column<T>(name);
  }();
  if (records.empty()) records.resize(values.size());
  require(values.size() == records.size(), "{}: {} has {} entries, others of its group have {}",
          file.path(), name, values.size(), records.size());
  for (size_t i = 0; i < values.size(); ++i) records[i].*member = values[i];
}

// Visits every column of a record once, for writing and for reading.
template <class Visitor>
void metrics_columns(const Visitor& visit) {
  visit("attempt", &StepRecord::attempt);
  visit("step", &StepRecord::step);
  visit("tokens", &StepRecord::tokens);
  visit("first_sample", &StepRecord::first_sample);
  visit("samples", &StepRecord::samples);
  visit("loss", &StepRecord::loss);
  visit("lr", &StepRecord::lr);
  visit("grad_norm", &StepRecord::grad_norm);
  visit("seconds", &StepRecord::seconds);
  visit("digest", &StepRecord::digest);
  visit("order_hash", &StepRecord::order_hash);
}

template <class Visitor>
void validation_columns(const Visitor& visit) {
  visit("step", &ValidationRecord::step);
  visit("name", &ValidationRecord::name);
  visit("loss", &ValidationRecord::loss);
  visit("perplexity", &ValidationRecord::perplexity);
}

template <class Visitor>
void events_columns(const Visitor& visit) {
  visit("step", &Event::step);
  visit("time", &Event::time);
  visit("kind", &Event::kind);
  visit("text", &Event::text);
}

}  // namespace

void write_account(hdf5::Writer& file, const State& state, const Account& account) {
  file.attribute("/", "format", "limpid account 1");
  file.attribute("/", "step", state.step);
  file.text("/recipe", account.recipe);
  file.text("/config", account.config_json);
  file.blob("/tokenizer", account.tokenizer);
  file.text("/data", account.data_json);
  file.text("/environment", account.environment_json);
  for (const auto& [name, value] : state.counters)
    write_column(file, "/counters/" + name, std::vector<int64_t>{value});
  write_column(file, "/order/step", account.order.step);
  write_column(file, "/order/corpus", account.order.corpus);
  write_column(file, "/order/epoch", account.order.epoch);
  write_column(file, "/order/window", account.order.window);
  metrics_columns([&](const std::string& name, auto member) {
    write_member(file, "/metrics/" + name, account.metrics, member);
  });
  std::vector<uint8_t> skipped;
  for (const StepRecord& record : account.metrics) skipped.push_back(record.skipped);
  write_column(file, "/metrics/skipped", skipped);
  validation_columns([&](const std::string& name, auto member) {
    write_member(file, "/validation/" + name, account.validation, member);
  });
  events_columns([&](const std::string& name, auto member) {
    write_member(file, "/events/" + name, account.events, member);
  });
}

int64_t account_bytes(const Account& account) {
  constexpr size_t kOfStructures = 1 << 20, kOfSample = 28, kOfRecord = 512;
  size_t bytes = kOfStructures + account.recipe.size() + account.config_json.size() +
                 account.tokenizer.size() + account.data_json.size() +
                 account.environment_json.size() + kOfSample * account.order.step.size() +
                 kOfRecord * (account.metrics.size() + account.validation.size());
  for (const Event& event : account.events) bytes += kOfRecord + event.text.size();
  return int64_t(bytes);
}

std::map<std::string, int64_t> read_counters(const hdf5::Reader& file) {
  std::map<std::string, int64_t> out;
  const std::string group = "/counters";
  if (!file.has(group)) return out;
  for (const std::string& name : file.datasets(group)) {
    const std::vector<int64_t> value = file.column<int64_t>(name, 1);
    require(value.size() == 1, "{}: {} is empty", file.path(), name);
    out[name.substr(group.size() + 1)] = value[0];
  }
  return out;
}

OrderLog read_order(const hdf5::Reader& file) {
  OrderLog out{file.column<int64_t>("/order/step"), file.column<int64_t>("/order/epoch"),
               file.column<int64_t>("/order/window"), file.column<int32_t>("/order/corpus")};
  const size_t count = out.step.size();
  require(out.epoch.size() == count && out.window.size() == count && out.corpus.size() == count,
          "{}: the columns of /order have different lengths", file.path());
  return out;
}

std::vector<StepRecord> read_metrics(const hdf5::Reader& file) {
  std::vector<StepRecord> out;
  metrics_columns([&](const std::string& name, auto member) {
    read_member(file, "/metrics/" + name, out, member);
  });
  const std::vector<uint8_t> skipped = file.column<uint8_t>("/metrics/skipped");
  require(skipped.size() == out.size(), "{}: /metrics/skipped has {} entries, others {}",
          file.path(), skipped.size(), out.size());
  for (size_t i = 0; i < out.size(); ++i) out[i].skipped = skipped[i] != 0;
  return out;
}

std::vector<ValidationRecord> read_validation(const hdf5::Reader& file) {
  std::vector<ValidationRecord> out;
  validation_columns([&](const std::string& name, auto member) {
    read_member(file, "/validation/" + name, out, member);
  });
  return out;
}

std::vector<Event> read_events(const hdf5::Reader& file) {
  std::vector<Event> out;
  events_columns([&](const std::string& name, auto member) {
    read_member(file, "/events/" + name, out, member);
  });
  return out;
}

}  // namespace limpid
