#include "core/graph.h"

#include "core/cuda.h"

namespace limpid {

void Fence::Free::operator()(void* event) const { cuda::free_event(event); }

void Fence::record(Stream& stream) {
  if (stream.device == Device::cpu) return;
  if (!event_) event_.reset(cuda::make_event());
  cuda::record_event(stream, event_.get());
}

void Fence::hold(Stream& stream) const {
  if (event_) cuda::hold(stream, event_.get());
}

void Fence::wait() const {
  if (event_) cuda::wait_event(event_.get());
}

void Graph::Free::operator()(void* graph) const { cuda::free_graph(graph); }

void Graph::record(Stream& stream, const std::function<void()>& work) {
  require(stream.device == Device::cuda, "work for the {} cannot be recorded", stream.device);
  const double before = stream.flops;
  cuda::begin_capture(stream);
  work();
  graph_.reset(cuda::end_capture(stream));
  flops_ = stream.flops - before;
  stream.flops = before;
}

void Graph::run(Stream& stream) const {
  cuda::run_graph(stream, graph_.get());
  stream.flops += flops_;
}

}  // namespace limpid
