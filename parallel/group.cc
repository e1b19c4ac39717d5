#include "parallel/group.h"

#include <algorithm>
#include <exception>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "core/memory.h"

namespace limpid {

std::string to_string(Verb verb) {
  constexpr std::array<const char*, kVerbs> kNames = {
      "all_reduce", "gather", "scatter_sum", "broadcast", "all_to_all", "send", "recv", "barrier"};
  return kNames[size_t(verb)];
}

Work::~Work() {
  if (!rest_) return;
  Stream stream;
  try {
    if (std::uncaught_exceptions() > 0) rest_->give_up();
    rest_->wait(stream);
  } catch (const Error&) {  // the group has ended: its next verb says so
  }
}

void Work::wait(Stream& stream) {
  if (const auto rest = std::exchange(rest_, nullptr)) rest->wait(stream);
}

namespace {

std::vector<int64_t> parts_of(const Tensor& tensor, Counts counts, int size) {
  if (!counts.empty()) return {counts.begin(), counts.end()};
  return std::vector<int64_t>(size_t(size), tensor.numel() / size);
}

int64_t sum(const std::vector<int64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t(0));
}

// A call's result where there is one rank only.
void do_alone(Stream& stream, const Call& call) {
  if (call.in && call.out && call.in.data != call.out.data)
    copy(stream, call.out.reshape({call.out.numel()}), call.in.reshape({call.in.numel()}));
}

class LoneGroup : public Group {
 public:
  explicit LoneGroup(std::string name) : Group(0, 1, std::move(name)) {}
  void abort(const std::string&) override {}

 private:
  void run(Stream&, const Call&) override {}
  Work start(Stream&, Call) override { return Work(); }
  std::unique_ptr<Group> make_child(Stream&, std::vector<int> members, int, int,
                                    std::string name) override {
    return members.empty() ? nullptr : lone_group(std::move(name));
  }
};

}  // namespace

std::unique_ptr<Group> lone_group(std::string name) {
  return std::make_unique<LoneGroup>(std::move(name));
}

void Group::check(const Call& call) const {
  const auto need = [&](bool ok, std::string_view text, const auto&... values) {
    if (!ok) fail("{} of {} ({}): {}", call.verb, call.what, name_, format(text, values...));
  };
  const bool cuts_out = call.verb == Verb::gather || call.verb == Verb::all_to_all;
  const bool cuts_in = call.verb == Verb::scatter_sum || call.verb == Verb::all_to_all;
  const auto is_cut = [&](const Tensor& tensor, const std::vector<int64_t>& counts) {
    return int(counts.size()) == size_ && sum(counts) == tensor.numel() &&
           std::all_of(counts.begin(), counts.end(), [](int64_t n) { return n >= 0; });
  };
  need(!cuts_out || is_cut(call.out, call.out_counts), "out {} is not in {} parts, one a rank",
       call.out.shape, size_);
  need(!cuts_in || is_cut(call.in, call.in_counts), "in {} is not in {} parts, one a rank",
       call.in.shape, size_);
  if (call.verb == Verb::gather)
    need(call.in.numel() == call.out_counts[size_t(rank_)], "in is {}, this rank's part is {}",
         call.in.shape, call.out_counts[size_t(rank_)]);
  if (call.verb == Verb::scatter_sum)
    need(call.out.numel() == call.in_counts[size_t(rank_)], "out is {}, this rank's part is {}",
         call.out.shape, call.in_counts[size_t(rank_)]);
  need(!(cuts_in || cuts_out) || call.in.dtype == call.out.dtype, "in is {}, out is {}",
       call.in.dtype, call.out.dtype);
  need(0 <= call.peer && call.peer < size_, "there is no rank {} among {}", call.peer, size_);
  const bool pair = call.verb == Verb::send || call.verb == Verb::recv;
  need(!pair || call.peer != rank_, "the rank {} is this one", rank_);
  if (call.verb == Verb::all_reduce || call.verb == Verb::scatter_sum)
    with_dtype(call.out.dtype, []<class T>() {});
}

void Group::do_now(Stream& stream, Call call) {
  check(call);
  if (size_ == 1) return do_alone(stream, call);
  run(stream, call);
}

Work Group::do_later(Stream& stream, Call call) {
  check(call);
  if (size_ > 1) return start(stream, std::move(call));
  do_alone(stream, call);
  return Work();
}

namespace {

Call reduce_call(Tensor tensor, const char* what, Reduce reduce) {
  return {.verb = Verb::all_reduce,
          .out = tensor,
          .in = {},
          .out_counts = {},
          .in_counts = {},
          .reduce = reduce,
          .what = what};
}
Call gather_call(Tensor out, Tensor in, const char* what, Counts counts, int size) {
  return {.verb = Verb::gather,
          .out = out,
          .in = in,
          .out_counts = parts_of(out, counts, size),
          .in_counts = {},
          .what = what};
}
Call scatter_call(Tensor out, Tensor in, const char* what, Counts counts, int size) {
  return {.verb = Verb::scatter_sum,
          .out = out,
          .in = in,
          .out_counts = {},
          .in_counts = parts_of(in, counts, size),
          .what = what};
}
Call send_call(Tensor tensor, int to, const char* what) {
  return {.verb = Verb::send,
          .out = {},
          .in = tensor,
          .out_counts = {},
          .in_counts = {},
          .peer = to,
          .what = what};
}
Call out_call(Verb verb, Tensor tensor, int peer, const char* what) {
  return {.verb = verb,
          .out = tensor,
          .in = {},
          .out_counts = {},
          .in_counts = {},
          .peer = peer,
          .what = what};
}

}  // namespace

void Group::all_reduce(Stream& stream, Tensor tensor, const char* what, Reduce reduce) {
  do_now(stream, reduce_call(tensor, what, reduce));
}
void Group::gather(Stream& stream, Tensor out, Tensor in, const char* what, Counts counts) {
  do_now(stream, gather_call(out, in, what, counts, size_));
}
void Group::scatter_sum(Stream& stream, Tensor out, Tensor in, const char* what, Counts counts) {
  do_now(stream, scatter_call(out, in, what, counts, size_));
}
void Group::broadcast(Stream& stream, Tensor tensor, int root, const char* what) {
  do_now(stream, out_call(Verb::broadcast, tensor, root, what));
}
void Group::all_to_all(Stream& stream, Tensor out, Tensor in, const char* what, Counts out_counts,
                       Counts in_counts) {
  do_now(stream, {.verb = Verb::all_to_all,
                  .out = out,
                  .in = in,
                  .out_counts = parts_of(out, out_counts, size_),
                  .in_counts = parts_of(in, in_counts, size_),
                  .what = what});
}
void Group::send(Stream& stream, Tensor tensor, int to, const char* what) {
  do_now(stream, send_call(tensor, to, what));
}
void Group::recv(Stream& stream, Tensor tensor, int from, const char* what) {
  do_now(stream, out_call(Verb::recv, tensor, from, what));
}
void Group::barrier(Stream& stream, const char* what) {
  do_now(stream, out_call(Verb::barrier, {}, 0, what));
}

Work Group::start_all_reduce(Stream& stream, Tensor tensor, const char* what, Reduce reduce) {
  return do_later(stream, reduce_call(tensor, what, reduce));
}
Work Group::start_gather(Stream& stream, Tensor out, Tensor in, const char* what, Counts counts) {
  return do_later(stream, gather_call(out, in, what, counts, size_));
}
Work Group::start_scatter_sum(Stream& stream, Tensor out, Tensor in, const char* what,
                              Counts counts) {
  return do_later(stream, scatter_call(out, in, what, counts, size_));
}
Work Group::start_send(Stream& stream, Tensor tensor, int to, const char* what) {
  return do_later(stream, send_call(tensor, to, what));
}
Work Group::start_recv(Stream& stream, Tensor tensor, int from, const char* what) {
  return do_later(stream, out_call(Verb::recv, tensor, from, what));
}

std::unique_ptr<Group> Group::split(Stream& stream, int colour, int key, std::string name) {
  struct Place {
    int32_t colour, key, rank;
    auto operator<=>(const Place&) const = default;
  };
  std::vector<Place> places(static_cast<size_t>(size_));
  Place mine = {colour, key, rank_};
  gather(stream, {places.data(), {int64_t(places.size()) * 3}, DType::i32},
         {&mine, {3}, DType::i32}, name.c_str());
  std::sort(places.begin(), places.end());
  std::vector<int> members;
  int colours = 0, position = 0;
  for (size_t i = 0; i < places.size(); ++i) {
    if (places[i].colour < 0) continue;
    if (i == 0 || places[i].colour != places[i - 1].colour) ++colours;
    if (places[i].colour != colour) continue;
    position = colours;
    members.push_back(places[i].rank);
  }
  return make_child(stream, std::move(members), colours, position, std::move(name));
}

void Group::count(Verb verb, int64_t bytes_sent, double seconds) {
  const std::lock_guard lock(mutex_);
  Traffic& traffic = traffic_[size_t(verb)];
  ++traffic.calls;
  traffic.bytes_sent += bytes_sent;
  traffic.seconds += seconds;
}

Traffic Group::traffic(Verb verb) const {
  const std::lock_guard lock(mutex_);
  return traffic_[size_t(verb)];
}

}  // namespace limpid
