#include "train/feed.h"

#include <cstring>

#include "kernels/check.h"

namespace limpid {

Feed::Feed(const Stream& stream, int64_t rows, int64_t context, int64_t vocab)
    : vocab_(vocab), copies_(stream.device) {
  if (stream.device == Device::cpu) return;
  const int64_t bytes = 3 * aligned(rows * context * size_of(DType::i32));
  for (Place& place : places_) {
    place.host = Buffer::pinned(stream.device, bytes, "batches on the host");
    place.device = Buffer(stream.device, bytes, "batches");
  }
}

Feed::Fed Feed::next(Stream& stream, const Batch& host) {
  if (stream.device == Device::cpu) return {host, 0};
  require_ids(host.tokens, 0, vocab_, "tokens");
  require_ids(host.targets, -1, vocab_, "targets");
  turn_ = (turn_ + 1) % kPlaces;
  Place& place = places_[size_t(turn_)];
  place.used.wait();
  int64_t at = 0;
  const auto bring = [&](const Tensor& from) {
    if (!from) return from;
    const Tensor staged = place.host.tensor(at, from.shape, from.dtype);
    const Tensor to = place.device.tensor(at, from.shape, from.dtype);
    std::memcpy(staged.data, from.data, size_t(from.bytes()));
    copy(copies_, to, staged);
    at += aligned(from.bytes());
    return to;
  };
  place.batch = {.tokens = bring(host.tokens),
                 .targets = bring(host.targets),
                 .document_start = bring(host.document_start),
                 .first_sample = host.first_sample,
                 .ids = {}};
  place.arrived.record(copies_);
  place.arrived.hold(stream);
  return {place.batch, turn_};
}

void Feed::used(Stream& stream) { places_[size_t(turn_)].used.record(stream); }

}  // namespace limpid
