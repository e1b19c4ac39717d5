#include "data/batches.h"

#include <algorithm>
#include <array>
#include <future>
#include <set>
#include <utility>

#include "core/error.h"
#include "core/memory.h"

namespace limpid {
namespace {

// A shard as samples of one length.
struct Corpus {
  Corpus(const std::string& name, const std::string& path, int64_t context, int64_t vocab)
      : shard(path) {
    const ShardInfo& found = shard.info();
    require(found.vocab_size <= vocab,
            "{}: its tokenizer has {} pieces, the model's vocabulary only {}: set the model's "
            "vocabulary to {} or more, or encode the text with another tokenizer",
            path, found.vocab_size, vocab, found.vocab_size);
    info = {.name = name,
            .path = path,
            .tokens = found.tokens,
            .windows = (found.tokens - 1) / context,
            .content_hash = found.content_hash,
            .tokenizer_hash = found.tokenizer_hash};
    require(info.windows > 0,
            "{}: has {} tokens, one sample needs {}: give more text or set a shorter context", path,
            info.tokens, context + 1);
  }
  TokenShard shard;
  CorpusInfo info;
};

// Room for one batch, reused by later ones.
class BatchBuffer {
 public:
  // Makes room for count samples of T tokens.
  Batch& prepare(int64_t first, int64_t count, int64_t context, bool with_starts) {
    const int64_t bytes = count * context * size_of(DType::i32);
    if (bytes * 3 > memory_.bytes()) memory_ = Buffer(Device::cpu, bytes * 3, "batch of samples");
    const Shape shape = {count, context};
    batch_.tokens = memory_.tensor(0, shape, DType::i32);
    batch_.targets = memory_.tensor(bytes, shape, DType::i32);
    batch_.document_start = with_starts ? memory_.tensor(2 * bytes, shape, DType::i32) : Tensor{};
    batch_.first_sample = first;
    batch_.ids.resize(size_t(count));
    return batch_;
  }

 private:
  Buffer memory_;
  Batch batch_;
};

// Row b of a batch from one window of a shard.
void fill_row(Batch& batch, int64_t row, const TokenShard& shard, int64_t window) {
  const int64_t context = batch.tokens.cols();
  const int64_t begin = window * context, end = begin + context;
  int32_t* tokens = batch.tokens.as<int32_t>() + row * context;
  int32_t* targets = batch.targets.as<int32_t>() + row * context;
  shard.copy(begin, context, tokens);
  shard.copy(begin + 1, context, targets);
  if (!batch.document_start) return;
  int32_t* starts = batch.document_start.as<int32_t>() + row * context;
  for (int64_t document = shard.document_at(begin), at = begin; at < end; ++document) {
    const int64_t stop = std::min(end, shard.document_offset(document + 1));
    std::fill(starts + (at - begin), starts + (stop - begin), int32_t(at - begin));
    at = stop;
  }
}

// "name=path", or a path, which is its own name.
std::pair<std::string, std::string> name_and_path(const std::string& entry) {
  const size_t at = entry.find('=');
  if (at == std::string::npos) return {entry, entry};
  return {entry.substr(0, at), entry.substr(at + 1)};
}

}  // namespace

void DataConfig::fields(Fields& f) {
  f.field("train", train, "shards of tokens to learn from (limpid-tokenize encode makes them)");
  f.field("weights", weights,
          "share of the samples from each of train; none: in proportion to their tokens");
  f.field("validation", validation,
          "shards to score on now and then, each \"path\" or \"name=path\"");
  f.field("validation_sequences", validation_sequences,
          "samples of each validation shard, spread evenly over it; 0: all", kNotNegative);
  f.field("document_mask", document_mask, "attention ends where a document begins");
  f.field("seed", seed, "of the order of the samples");
}

void DataConfig::check(Problems& problems) const {
  problems.require(!train.empty(), "train",
                   "names no shard: give at least one, such as [\"corpus.h5\"]");
  problems.require(weights.empty() || weights.size() == train.size(), "weights",
                   "has {} numbers for {} shards: give one each, or none", weights.size(),
                   train.size());
  for (double weight : weights)
    problems.require(weight > 0 && weight < 1e15, "weights", "{} is not a number above 0", weight);
  std::set<std::string> names;
  for (const std::string& entry : validation) {
    const auto [name, path] = name_and_path(entry);
    problems.require(!name.empty() && !path.empty(), "validation",
                     "\"{}\" is neither \"path\" nor \"name=path\"", entry);
    problems.require(names.insert(name).second, "validation", "\"{}\" stands twice", name);
  }
}

struct ValidationSet::State {
  State(const DataConfig& config, const std::string& entry, int64_t length, int64_t vocab)
      : corpus(name_and_path(entry).first, name_and_path(entry).second, length, vocab),
        context(length),
        sequences(config.validation_sequences > 0
                      ? std::min(config.validation_sequences, corpus.info.windows)
                      : corpus.info.windows),
        document_mask(config.document_mask) {}
  Corpus corpus;
  int64_t context;
  int64_t sequences;
  bool document_mask;
  BatchBuffer buffer;
};

ValidationSet::ValidationSet(const DataConfig& config, const std::string& entry, int64_t context,
                             int64_t vocab)
    : state_(std::make_unique<State>(config, entry, context, vocab)) {}
ValidationSet::~ValidationSet() = default;
ValidationSet::ValidationSet(ValidationSet&&) noexcept = default;

const CorpusInfo& ValidationSet::info() const { return state_->corpus.info; }
int64_t ValidationSet::sequences() const { return state_->sequences; }
double ValidationSet::bytes_per_token() const {
  const ShardInfo& info = state_->corpus.shard.info();
  return double(info.text_bytes) / double(info.tokens);
}

const Batch& ValidationSet::get(int64_t first, int64_t count) {
  require(first >= 0 && count > 0 && count <= state_->sequences - first,
          "{}: has {} samples, not those from {} to {}", info().name, state_->sequences, first,
          first + count);
  Batch& batch = state_->buffer.prepare(first, count, state_->context, state_->document_mask);
  for (int64_t row = 0; row < count; ++row) {
    const auto wide = static_cast<__int128>(first + row) * info().windows / state_->sequences;
    batch.ids[size_t(row)] = {.corpus = 0, .epoch = 0, .window = int64_t(wide)};
    fill_row(batch, row, state_->corpus.shard, int64_t(wide));
  }
  return batch;
}

namespace {

std::vector<std::unique_ptr<Corpus>> open_corpora(const DataConfig& config, int64_t context,
                                                  int64_t vocab) {
  require(context > 0, "the context is {} tokens", context);
  require(!config.train.empty(), "data.train names no shard");
  std::vector<std::unique_ptr<Corpus>> out;
  for (const std::string& path : config.train) {
    out.push_back(std::make_unique<Corpus>(path, path, context, vocab));
    require(out.back()->info.tokenizer_hash == out[0]->info.tokenizer_hash,
            "{} and {} were encoded with different tokenizers: encode one of them again", path,
            config.train[0]);
  }
  return out;
}

Order make_order(const DataConfig& config, const std::vector<std::unique_ptr<Corpus>>& corpora) {
  std::vector<int64_t> windows;
  for (const auto& corpus : corpora) windows.push_back(corpus->info.windows);
  return Order(uint64_t(config.seed), windows, config.weights);
}

}  // namespace

struct Batches::State {
  State(const DataConfig& config, int64_t length, int64_t vocab)
      : context(length),
        document_mask(config.document_mask),
        corpora(open_corpora(config, context, vocab)),
        order(make_order(config, corpora)) {
    double sum = 0;
    for (size_t i = 0; i < corpora.size(); ++i) {
      infos.push_back(corpora[i]->info);
      infos[i].weight = config.weights.empty() ? double(infos[i].windows) : config.weights[i];
      sum += infos[i].weight;
    }
    for (CorpusInfo& info : infos) info.weight /= sum;
    for (const std::string& entry : config.validation) {
      validation.emplace_back(config, entry, context, vocab);
      require(validation.back().info().tokenizer_hash == infos[0].tokenizer_hash,
              "{} and {} were encoded with different tokenizers: encode one of them again",
              validation.back().info().path, infos[0].path);
    }
  }

  const Batch& make(BatchBuffer& buffer, int64_t first, int64_t count) const {
    Batch& batch = buffer.prepare(first, count, context, document_mask);
    for (int64_t row = 0; row < count; ++row) {
      const SampleId id = order.sample(first + row);
      batch.ids[size_t(row)] = id;
      fill_row(batch, row, corpora[size_t(id.corpus)]->shard, id.window);
    }
    return batch;
  }

  // What get() hands out next, if samples are asked for in even steps.
  void make_ahead(int64_t first, int64_t count) {
    if (first < 0) return;
    ahead_first = first, ahead_count = count;
    ahead = std::async(std::launch::async,
                       [=, this] { return &make(buffers[1 - served], first, count); });
  }

  int64_t context;
  bool document_mask;
  std::vector<std::unique_ptr<Corpus>> corpora;
  Order order;
  std::vector<CorpusInfo> infos;
  std::vector<ValidationSet> validation;
  std::array<BatchBuffer, 2> buffers;
  size_t served = 0;  // the buffer that get() returned last; the other is the thread's
  int64_t served_first = -1;
  int64_t ahead_first = 0, ahead_count = 0;
  std::future<const Batch*> ahead;  // last, so that its thread ends before what it reads
};

Batches::Batches(const DataConfig& config, int64_t context, int64_t vocab_of_model)
    : state_(std::make_unique<State>(config, context, vocab_of_model)) {}
Batches::~Batches() = default;
Batches::Batches(Batches&&) noexcept = default;

const Batch& Batches::get(int64_t first_sample, int64_t count) {
  require(first_sample >= 0 && count > 0, "no batch has {} samples from {}", count, first_sample);
  State& s = *state_;
  const bool made = s.ahead.valid() && s.ahead_first == first_sample && s.ahead_count == count;
  const Batch* batch = nullptr;
  if (made) {
    batch = s.ahead.get();
    s.served = 1 - s.served;
  } else {
    s.ahead = {};  // waits for its thread
    batch = &s.make(s.buffers[s.served], first_sample, count);
  }
  const int64_t step = s.served_first < 0 ? count : first_sample - s.served_first;
  s.served_first = first_sample;
  s.make_ahead(first_sample + step, count);
  return *batch;
}

int64_t Batches::tokens() const {
  int64_t sum = 0;
  for (const CorpusInfo& info : state_->infos) sum += info.tokens;
  return sum;
}
const Order& Batches::order() const { return state_->order; }
const std::vector<CorpusInfo>& Batches::corpora() const { return state_->infos; }
std::vector<ValidationSet>& Batches::validation() { return state_->validation; }
const std::string& Batches::tokenizer_bytes() const {
  return state_->corpora[0]->shard.tokenizer_bytes();
}

}  // namespace limpid
