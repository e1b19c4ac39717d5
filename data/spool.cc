#include "data/spool.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/hash.h"
#include "core/hdf5.h"

namespace limpid {

// Rows of fixed size in a file that has lost its name; the last rows wait in memory.
class Spool::Column {
 public:
  Column(Disk& disk, const Path& path, int64_t row_bytes) : row_bytes_(row_bytes) {
    disk.remove_all(path);
    file_ = disk.create(path);
    disk.remove_all(path);
  }

  void push(const void* rows, int64_t count) {
    const char* bytes = static_cast<const char*>(rows);
    waiting_.insert(waiting_.end(), bytes, bytes + count * row_bytes_);
    if (int64_t(waiting_.size()) >= kBlockBytes) flush();
  }
  int64_t rows() const { return (written_ + int64_t(waiting_.size())) / row_bytes_; }
  void truncate(int64_t rows) {
    const int64_t bytes = rows * row_bytes_;
    waiting_.resize(size_t(std::max<int64_t>(0, bytes - written_)));
    written_ = std::min(written_, bytes);
  }
  void read(int64_t first, int64_t count, void* out) {
    flush();
    if (count > 0) file_->read_at(first * row_bytes_, out, count * row_bytes_);
  }

 private:
  static constexpr int64_t kBlockBytes = 1 << 20;
  void flush() {
    if (!waiting_.empty()) file_->write_at(written_, waiting_.data(), int64_t(waiting_.size()));
    written_ += int64_t(waiting_.size());
    waiting_.clear();
  }

  int64_t row_bytes_;
  int64_t written_ = 0;  // bytes
  std::vector<char> waiting_;
  std::unique_ptr<File> file_;
};

Spool::Spool(Disk& disk, const Path& folder, Tokenizer tokenizer)
    : tokenizer_(std::move(tokenizer)),
      tokens_(std::make_unique<Column>(disk, folder / ".limpid-tokens.tmp", token_bytes())),
      documents_(
          std::make_unique<Column>(disk, folder / ".limpid-documents.tmp", sizeof(Document))) {}
Spool::~Spool() = default;

int64_t Spool::token_bytes() const { return tokenizer_.vocab_size() <= 1 << 16 ? 2 : 4; }
int64_t Spool::documents() const { return documents_->rows(); }
int64_t Spool::tokens() const { return tokens_->rows(); }

void Spool::begin(int64_t source, uint64_t key) {
  open_ = {.first = tokens_->rows(), .source = source, .key = key};
  if (const int32_t bos = int32_t(tokenizer_.bos()); bos >= 0) put({&bos, 1});
}

void Spool::extend(std::span<const int32_t> ids, int64_t text_bytes) {
  put(ids);
  open_.text_bytes += text_bytes;
}

void Spool::end() {
  if (const int32_t eos = int32_t(tokenizer_.eos()); eos >= 0) put({&eos, 1});
  open_.tokens = tokens_->rows() - open_.first;
  require(open_.tokens > 0, "a document has no tokens");
  documents_->push(&open_, 1);
}

void Spool::drop() { tokens_->truncate(open_.first); }

void Spool::put(std::span<const int32_t> ids) {
  const int64_t vocab = tokenizer_.vocab_size();
  for (int32_t id : ids)
    require(id >= 0 && id < vocab, "the tokenizer gave the id {} of {}", id, vocab);
  if (token_bytes() == 4) return tokens_->push(ids.data(), int64_t(ids.size()));
  narrow_.assign(ids.begin(), ids.end());
  tokens_->push(narrow_.data(), int64_t(ids.size()));
}

void Spool::for_each(const std::function<void(const Document&)>& f) {
  constexpr int64_t kRows = 4096;
  std::vector<Document> block(kRows);
  for (int64_t first = 0; first < documents(); first += kRows) {
    const int64_t count = std::min(kRows, documents() - first);
    documents_->read(first, count, block.data());
    for (int64_t i = 0; i < count; ++i) f(block[size_t(i)]);
  }
}

void Spool::read_tokens(int64_t first, int64_t count, char* out) {
  tokens_->read(first, count, out);
}

namespace {

constexpr int64_t kBlockTokens = 1 << 20;

using Keep = std::function<bool(const Spool::Document&)>;

// What a shard of the kept documents will say of itself; counts them into their sources.
ShardInfo count_kept(Spool& spool, const Keep& keep, std::vector<Source>& sources) {
  const Tokenizer& tokenizer = spool.tokenizer();
  ShardInfo info = {.vocab_size = tokenizer.vocab_size(),
                    .bos = tokenizer.bos(),
                    .eos = tokenizer.eos(),
                    .tokenizer_hash = tokenizer.hash(),
                    .content_hash = ""};
  for (Source& source : sources) source.documents = 0;
  spool.for_each([&](const Spool::Document& document) {
    if (!keep(document)) return;
    ++info.documents;
    info.tokens += document.tokens;
    info.text_bytes += document.text_bytes;
    ++sources.at(size_t(document.source)).documents;
  });
  return info;
}

// Calls f(bytes, count of bytes) for the kept tokens, in pieces, in order.
void for_tokens(Spool& spool, const Keep& keep,
                const std::function<void(const char*, int64_t)>& f) {
  std::vector<char> block(size_t(kBlockTokens * spool.token_bytes()));
  int64_t first = 0, end = 0;  // a run of kept tokens
  const auto give = [&] {
    for (; first < end; first += kBlockTokens) {
      const int64_t count = std::min(kBlockTokens, end - first);
      spool.read_tokens(first, count, block.data());
      f(block.data(), count * spool.token_bytes());
    }
  };
  spool.for_each([&](const Spool::Document& document) {
    if (!keep(document)) return;
    if (document.first != end) {
      give();
      first = document.first;
    }
    end = document.first + document.tokens;
    if (end - first >= kBlockTokens) give(), first = end;
  });
  give();
}

void write_offsets(File& file, int64_t at, Spool& spool, const Keep& keep) {
  constexpr size_t kRows = 1 << 17;
  std::vector<int64_t> block = {0};
  int64_t last = 0;
  const auto flush = [&] {
    file.write_at(at, block.data(), int64_t(block.size() * sizeof(int64_t)));
    at += int64_t(block.size() * sizeof(int64_t));
    block.clear();
  };
  spool.for_each([&](const Spool::Document& document) {
    if (!keep(document)) return;
    block.push_back(last += document.tokens);
    if (block.size() >= kRows) flush();
  });
  flush();
}

// The file with everything but tokens and offsets, whose places it returns.
std::vector<hdf5::Extent> lay_out(const Path& path, const Tokenizer& tokenizer, DType dtype,
                                  const ShardInfo& info, const std::vector<Source>& sources) {
  hdf5::Writer file(path);
  file.reserve("/tokens", {info.tokens}, dtype);
  file.reserve("/document_offsets", {info.documents + 1}, DType::i64);
  file.blob("/tokenizer", tokenizer.bytes());
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Source& source : sources)
    if (source.documents > 0)
      list.push_back({{"path", source.path},
                      {"bytes", source.bytes},
                      {"sha256", source.sha256},
                      {"documents", source.documents}});
  using Json = nlohmann::ordered_json;
  file.text("/sources", list.dump(-1, ' ', false, Json::error_handler_t::replace));
  file.attribute("/", "format", std::string(TokenShard::kFormat));
  file.attribute("/", "tokens", info.tokens);
  file.attribute("/", "documents", info.documents);
  file.attribute("/", "text_bytes", info.text_bytes);
  file.attribute("/", "vocab_size", info.vocab_size);
  file.attribute("/", "bos", info.bos);
  file.attribute("/", "eos", info.eos);
  file.attribute("/", "tokenizer_hash", info.tokenizer_hash);
  file.attribute("/", "content_hash", info.content_hash);
  return file.close();
}

}  // namespace

ShardInfo write_shard(Disk& disk, const Path& path, Spool& spool, std::vector<Source> sources,
                      const Keep& keep) {
  ShardInfo info = count_kept(spool, keep, sources);
  require(info.documents > 0, "{}: there is no document to write", path.string());
  Sha256 hash;
  for_tokens(spool, keep,
             [&](const char* bytes, int64_t count) { hash.update(bytes, size_t(count)); });
  info.content_hash = to_hex(hash.finish());

  const Path beside = path.string() + ".tmp";
  disk.remove_all(beside);
  try {
    const DType dtype = spool.token_bytes() == 2 ? DType::u16 : DType::u32;
    const auto extents = lay_out(beside, spool.tokenizer(), dtype, info, sources);
    const auto file = disk.open_append(beside);
    int64_t at = extents.at(0).offset;
    for_tokens(spool, keep, [&](const char* bytes, int64_t count) {
      file->write_at(at, bytes, count);
      at += count;
    });
    write_offsets(*file, extents.at(1).offset, spool, keep);
    file->sync();
    disk.rename(beside, path);
    disk.sync_folder(path.parent_path());
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(beside, ignored);
    throw;
  }
  return info;
}

}  // namespace limpid
