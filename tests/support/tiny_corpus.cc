#include "tests/support/tiny_corpus.h"

#include "core/random.h"
#include "data/spool.h"
#include "data/tokenizer_training.h"

namespace limpid {
namespace {

Tokenizer make_tokenizer() {
  std::vector<std::string> lines;
  for (uint64_t i = 0; i < 400; ++i) {
    std::string line;
    for (uint64_t word = 0; word < 8; ++word) {
      const auto words = Random(9, "text", i).words(word);
      for (uint32_t letter = 0; letter < 2 + words[0] % 5; ++letter)
        line += char('a' + words[1 + letter % 3] / (letter + 1) % 12);
      line += ' ';
    }
    lines.push_back(line);
  }
  TokenizerTraining training;
  training.vocab_size = 320;
  training.shrink_to_fit = true;
  return train_tokenizer(training, lines);
}

}  // namespace

const Tokenizer& tiny_tokenizer() {
  static const Tokenizer tokenizer = make_tokenizer();
  return tokenizer;
}

void write_shard(const Path& path, const std::vector<std::vector<int32_t>>& documents) {
  Spool spool(real_disk(), path.parent_path(), tiny_tokenizer());
  for (const std::vector<int32_t>& ids : documents) {
    spool.begin(0, 0);
    spool.extend(ids, int64_t(ids.size()));
    spool.end();
  }
  const Source made{.path = "made", .bytes = 0, .sha256 = std::string(64, '0'), .documents = 0};
  write_shard(real_disk(), path, spool, {made}, [](const Spool::Document&) { return true; });
}

void write_random_shard(const Path& path, int64_t tokens, uint64_t seed) {
  std::vector<std::vector<int32_t>> documents;
  for (uint64_t made = 0; int64_t(made) < tokens;) {
    std::vector<int32_t> ids(20 + Random(seed, "length").words(made)[0] % 101);
    for (int32_t& id : ids)
      id = int32_t(Random(seed, "id").words(made++)[0] % uint64_t(tiny_tokenizer().vocab_size()));
    documents.push_back(std::move(ids));
  }
  write_shard(path, documents);
}

}  // namespace limpid
