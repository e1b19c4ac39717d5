#pragma once

#include <array>

#include "core/graph.h"
#include "core/memory.h"
#include "data/batches.h"

namespace limpid {

// Brings batches to where kernels read them, while kernels still work on the batch before. On the
// CPU that is where they are.
class Feed {
 public:
  // rows: the most samples of a batch; vocab: ids must be below.
  Feed(const Stream&, int64_t rows, int64_t context, int64_t vocab);

  // One of two places, used by turns; a batch of the same size lies at the same address there.
  static constexpr int kPlaces = 2;
  struct Fed {
    const Batch& batch;
    int place;
  };
  // The batch for kernels that are given to the stream from now on; `host` may change when this
  // returns. Throws Error on an id outside of the vocabulary.
  Fed next(Stream&, const Batch& host);
  // All kernels that read the last batch have been given to the stream.
  void used(Stream&);

 private:
  struct Place {
    Buffer host, device;
    Batch batch;
    Fence arrived, used;
  };
  int64_t vocab_;
  Stream copies_;
  std::array<Place, kPlaces> places_;
  int turn_ = 0;
};

}  // namespace limpid
