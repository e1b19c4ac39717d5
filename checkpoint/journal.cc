#include "checkpoint/journal.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/fields.h"
#include "core/hash.h"
#include "core/log.h"

namespace limpid {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kCrcKey = ",\"crc\":\"";
constexpr std::string_view kLineEnd = "\"}";
constexpr size_t kTail = kCrcKey.size() + 8 + kLineEnd.size();

// JSON has no number for what is not finite.
std::string number(double value) { return std::isfinite(value) ? exact(value) : "null"; }
double number_from(const Json& value) {
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

std::string hex32(uint32_t value) { return format("{:08x}", value); }

// The JSON object without its closing brace.
std::string to_json(const StepRecord& r) {
  return format(
      R"({{"kind":"step","attempt":{},"step":{},"tokens":{},"first_sample":{},"samples":{},)"
      R"("loss":{},"lr":{},"grad_norm":{},"seconds":{},"skipped":{},"digest":{},"order_hash":{})",
      r.attempt, r.step, r.tokens, r.first_sample, r.samples, number(r.loss), number(r.lr),
      number(r.grad_norm), number(r.seconds), r.skipped, quote(r.digest), quote(r.order_hash));
}

std::string to_json(const ValidationRecord& r) {
  return format(R"({{"kind":"validation","step":{},"name":{},"loss":{},"perplexity":{})", r.step,
                quote(r.name), number(r.loss), number(r.perplexity));
}

std::string to_json(const Event& event, int64_t attempt) {
  return format(R"({{"kind":"event","attempt":{},"step":{},"time":{},"event":{},"text":{})",
                attempt, event.step, number(event.time), quote(event.kind), quote(event.text));
}

StepRecord step_from(const Json& json) {
  StepRecord r;
  r.attempt = json.at("attempt").get<int64_t>();
  r.step = json.at("step").get<int64_t>();
  r.tokens = json.at("tokens").get<int64_t>();
  r.first_sample = json.at("first_sample").get<int64_t>();
  r.samples = json.at("samples").get<int64_t>();
  r.loss = number_from(json.at("loss"));
  r.lr = number_from(json.at("lr"));
  r.grad_norm = number_from(json.at("grad_norm"));
  r.seconds = number_from(json.at("seconds"));
  r.skipped = json.at("skipped").get<bool>();
  r.digest = json.at("digest").get<std::string>();
  r.order_hash = json.at("order_hash").get<std::string>();
  return r;
}

void read_line(std::string_view line, JournalContents& into) {
  const std::string_view body = line.substr(0, line.size() - std::min(line.size(), kTail));
  require(line.size() > kTail && line.ends_with(kLineEnd) &&
              line.substr(body.size()).starts_with(kCrcKey) &&
              line.substr(body.size() + kCrcKey.size(), 8) == hex32(crc32c(body)),
          "does not have its CRC-32C");
  const Json json = Json::parse(line);
  const auto kind = json.at("kind").get<std::string>();
  if (kind == "step") {
    into.steps.push_back(step_from(json));
  } else if (kind == "validation") {
    into.validation.push_back({json.at("step").get<int64_t>(), json.at("name").get<std::string>(),
                               number_from(json.at("loss")), number_from(json.at("perplexity"))});
  } else {
    require(kind == "event", "is of the unknown kind '{}'", kind);
    into.events.push_back({json.at("step").get<int64_t>(), number_from(json.at("time")),
                           json.at("event").get<std::string>(),
                           json.at("text").get<std::string>()});
    into.attempts = std::max(into.attempts, json.at("attempt").get<int64_t>());
  }
}

}  // namespace

// A line is torn where its end is missing, or where a crash left zeros in its place.
JournalContents read_journal(const Path& path) {
  const std::string text = read_text(path, std::numeric_limits<int64_t>::max());
  JournalContents out;
  int64_t number = 1;
  for (size_t at = 0, end; at < text.size(); at = end + 1, ++number) {
    end = text.find('\n', at);
    if (end == std::string::npos) break;
    const std::string_view line(text.data() + at, end - at);
    if (end + 1 == text.size() && line.find('\0') != line.npos) break;
    try {
      read_line(line, out);
    } catch (const std::exception& error) {
      fail("{}: line {} is damaged: {}; remove or restore it by hand", path.string(), number,
           error.what());
    }
    out.good_bytes = int64_t(end + 1);
  }
  return out;
}

Journal::Journal(Disk& disk, const Path& run) {
  const Path path = run / "journal.jsonl";
  file_ = disk.open_append(path);
  const JournalContents before = read_journal(path);
  size_ = before.good_bytes;
  if (const int64_t torn = file_->size() - size_) {
    log("{}: cut off a torn last line of {} bytes", path.string(), torn);
    file_->truncate(size_);
  }
  attempt_ = before.attempts + 1;
  for (const StepRecord& record : before.steps) {
    attempt_ = std::max(attempt_, record.attempt + 1);
    earlier_digests_[record.step] = record.digest;
  }
  disk.sync_folder(run);
}

Journal::~Journal() = default;

void Journal::step(StepRecord record) {
  record.attempt = attempt_;
  add(to_json(record));
  const auto earlier = earlier_digests_.find(record.step);
  if (warned_ || earlier == earlier_digests_.end() || earlier->second == record.digest) return;
  warned_ = true;
  warn(
      "step {} was done before with the digest {}, now it is {}: this attempt differs from then on",
      record.step, earlier->second, record.digest);
}

void Journal::validation(const ValidationRecord& record) { add(to_json(record)); }
void Journal::event(const Event& event) { add(to_json(event, attempt_)); }
void Journal::sync() { file_->sync(); }

void Journal::add(const std::string& body) {
  std::string line = body;
  line.append(kCrcKey).append(hex32(crc32c(body))).append(kLineEnd).append("\n");
  file_->write_at(size_, line.data(), int64_t(line.size()));
  size_ += int64_t(line.size());
}

}  // namespace limpid
