#include "data/encode.h"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>
#include <thread>
#include <utility>

#include "core/error.h"
#include "core/hash.h"
#include "data/spool.h"

namespace limpid {
namespace {

constexpr size_t kTaskBytes = 1 << 18;  // of text: some milliseconds of work
constexpr size_t kKeyBytes = 1 << 16;

// What one thread encodes at a time, and what comes of it.
struct Task {
  struct Piece {
    Part part;
    std::vector<int32_t> ids;
    uint64_t key = 0;  // of a first part
  };
  std::vector<Piece> pieces;
  size_t bytes = 0;
};

// Encoders that threads take turns with, so that no more than there are work at a time.
class EncoderPool {
 public:
  EncoderPool(const Tokenizer& tokenizer, int64_t count) {
    for (int64_t i = 0; i < count; ++i) free_.push_back(std::make_unique<Encoder>(tokenizer));
  }
  template <class F>
  void with(F&& f) {
    auto encoder = take();
    f(*encoder);
    give_back(std::move(encoder));
  }

 private:
  std::unique_ptr<Encoder> take() {
    std::unique_lock lock(mutex_);
    given_back_.wait(lock, [&] { return !free_.empty(); });
    auto out = std::move(free_.back());
    free_.pop_back();
    return out;
  }
  void give_back(std::unique_ptr<Encoder> encoder) {
    {
      const std::lock_guard lock(mutex_);
      free_.push_back(std::move(encoder));
    }
    given_back_.notify_one();
  }

  std::mutex mutex_;
  std::condition_variable given_back_;
  std::vector<std::unique_ptr<Encoder>> free_;
};

uint64_t document_key(int64_t seed, std::string_view text) {
  const std::string head = std::to_string(seed) + ":";
  text = text.substr(0, kKeyBytes);
  Sha256 hash;
  hash.update(head.data(), head.size());
  hash.update(text.data(), text.size());
  const Digest256 digest = hash.finish();
  uint64_t out = 0;
  for (size_t i = 0; i < 8; ++i) out = out << 8 | digest[i];
  return out;
}

Task encode_task(EncoderPool& pool, int64_t seed, Task task) {
  pool.with([&](Encoder& encoder) {
    for (Task::Piece& piece : task.pieces) {
      encoder.encode(piece.part.text, piece.part.first, piece.ids);
      if (piece.part.first) piece.key = document_key(seed, piece.part.text);
    }
  });
  return task;
}

// Cuts documents into tasks, has them encoded, and spools the ids in the order of the texts.
class Pipeline {
 public:
  Pipeline(int64_t seed, int64_t threads, Spool& spool)
      : seed_(seed),
        most_running_(size_t(2 * threads)),
        spool_(spool),
        cutter_(spool.tokenizer()),
        pool_(spool.tokenizer(), threads) {}

  void add(Part part) {
    if (part.first) nothing_sent_ = true;
    if (part.dropped) {
      carry_.clear();
      if (!nothing_sent_) send(std::move(part));
      return;
    }
    carry_ += part.text;
    std::string_view rest = carry_;
    while (rest.size() > (part.last ? 0 : kMostCarried)) {
      const size_t count = cutter_.cut(rest);
      send({.text = std::string(rest.substr(0, count)),
            .source = part.source,
            .first = std::exchange(nothing_sent_, false),
            .last = part.last && count == rest.size()});
      rest.remove_prefix(count);
    }
    carry_ = std::string(rest);
  }

  void finish() {
    start_task();
    while (!running_.empty()) take_oldest();
  }

 private:
  static constexpr size_t kMostCarried = size_t(Tokenizer::kLongestPart) + 3;  // a cut sees all

  void send(Part part) {
    task_.bytes += part.text.size();
    task_.pieces.push_back({std::move(part), {}, 0});
    if (task_.bytes >= kTaskBytes) start_task();
  }
  void start_task() {
    if (running_.size() >= most_running_) take_oldest();
    running_.push_back(std::async(std::launch::async, [this, task = std::exchange(task_, {})] {
      return encode_task(pool_, seed_, std::move(task));
    }));
  }
  void take_oldest() {
    const Task task = running_.front().get();
    running_.pop_front();
    for (const Task::Piece& piece : task.pieces) {
      if (piece.part.dropped) {
        spool_.drop();
        continue;
      }
      if (piece.part.first) spool_.begin(piece.part.source, piece.key);
      spool_.extend(piece.ids, int64_t(piece.part.text.size()));
      if (piece.part.last) spool_.end();
    }
  }

  int64_t seed_;
  size_t most_running_;
  Spool& spool_;
  Encoder cutter_;
  EncoderPool pool_;
  std::string carry_;  // of a document, its part that may still be cut
  bool nothing_sent_ = true;
  Task task_;
  std::deque<std::future<Task>> running_;
};

// Documents with a key below it are for validation: see encode_texts().
uint64_t validation_limit(Spool& spool, double fraction) {
  const uint64_t limit = uint64_t(std::ldexp(fraction, 64));
  uint64_t smallest = ~uint64_t(0), largest = 0;
  spool.for_each([&](const Spool::Document& document) {
    smallest = std::min(smallest, document.key);
    largest = std::max(largest, document.key);
  });
  require(smallest < largest,
          "there is only one document, which cannot be both for training and for validation: "
          "--split lines or --split paragraphs makes more of a file, --validation 0 holds none "
          "out");
  return std::clamp(limit, smallest + 1, largest);
}

void require_new(const Path& path, bool force) {
  require(force || !file_exists(path), "{} exists: choose another --output, or --force replaces it",
          path.string());
}

Path folder_of(const Path& path) { return path.has_parent_path() ? path.parent_path() : Path("."); }

}  // namespace

void EncodeConfig::fields(Fields& f) {
  reader.fields(f);
  f.field("validation", validation, "share of the documents to hold out for validation", {0, 0.99});
  f.field("seed", seed, "of the choice of documents for validation");
  f.field("threads", threads, "that encode; 0: one a processor", kNotNegative);
  f.field("force", force, "replace shards that exist");
}

Path EncodeConfig::train_path() const {
  const std::string stem = output.ends_with(".h5") ? output.substr(0, output.size() - 3) : output;
  return stem + (validation > 0 ? "-train.h5" : ".h5");
}

Path EncodeConfig::validation_path() const {
  const std::string stem = output.ends_with(".h5") ? output.substr(0, output.size() - 3) : output;
  return stem + "-validation.h5";
}

EncodeReport encode_texts(const EncodeConfig& config, const Tokenizer& tokenizer,
                          const std::function<void(const EncodeProgress&)>& progress) {
  require(!config.output.empty() && config.output != ".h5", "there is no --output");
  require(config.validation >= 0 && config.validation < 1, "--validation is {}, need 0 to 0.99",
          config.validation);
  require_new(config.train_path(), config.force);
  if (config.validation > 0) require_new(config.validation_path(), config.force);

  Disk& disk = real_disk();
  Reader reader(config.reader);
  disk.make_folders(folder_of(config.train_path()));
  Spool spool(disk, folder_of(config.train_path()), tokenizer);
  const int64_t threads =
      config.threads > 0 ? config.threads : std::max(1u, std::thread::hardware_concurrency());
  Pipeline pipeline(config.seed, threads, spool);
  const auto report = [&] {
    progress({reader.bytes_read(), reader.bytes_total(), spool.documents(), spool.tokens()});
  };
  for (Part part; reader.next(part); report()) pipeline.add(std::move(part));
  pipeline.finish();
  report();
  require(spool.documents() > 0, "no text was found in {}", config.reader.inputs[0]);

  EncodeReport out;
  const uint64_t limit = config.validation > 0 ? validation_limit(spool, config.validation) : 0;
  const auto& sources = reader.sources();
  out.train = write_shard(disk, config.train_path(), spool, sources,
                          [&](const Spool::Document& document) { return document.key >= limit; });
  if (config.validation > 0)
    out.validation =
        write_shard(disk, config.validation_path(), spool, sources,
                    [&](const Spool::Document& document) { return document.key < limit; });
  out.counts = reader.counts();
  return out;
}

}  // namespace limpid
