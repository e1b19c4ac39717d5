#include "checkpoint/tensorboard.h"

#include <unistd.h>

#include <array>
#include <bit>
#include <chrono>

#include "checkpoint/nonce.h"
#include "core/error.h"
#include "core/hash.h"

namespace limpid {
namespace {

// Little-endian, as every machine that limpid runs on.
template <class T>
std::string raw(T value) {
  const auto bytes = std::bit_cast<std::array<char, sizeof(T)>>(value);
  return {bytes.begin(), bytes.end()};
}

// Protocol buffers, wire format: varints, and a key of field number and wire type before each
// value.
std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += char(value | 0x80);
  return out += char(value);
}
enum Wire { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
std::string key(int field, Wire wire) { return varint(uint64_t(field) << 3 | uint64_t(wire)); }
std::string bytes_field(int field, std::string_view value) {
  return key(field, kBytes) + varint(value.size()) + std::string(value);
}

uint32_t masked_crc(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xa282ead8u; }

// Length, its CRC, the data, its CRC.
std::string framed(const std::string& data) {
  const std::string length = raw(uint64_t(data.size()));
  return length + raw(masked_crc(length)) + data + raw(masked_crc(data));
}

std::string event_head(double wall_time, int64_t step) {
  std::string out = key(1, kFixed64) + raw(wall_time);
  if (step != 0) out += key(2, kVarint) + varint(uint64_t(step));
  return out;
}

double unix_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

std::string version_event(double wall_time) {
  return framed(event_head(wall_time, 0) + bytes_field(3, "brain.Event:2"));
}

std::string start_event(double wall_time, int64_t step) {
  constexpr uint64_t kStart = 1;
  const std::string session_log = key(1, kVarint) + varint(kStart);
  return framed(event_head(wall_time, step) + bytes_field(7, session_log));
}

std::string scalar_event(double wall_time, int64_t step, std::string_view tag, float value) {
  const std::string entry = bytes_field(1, tag) + key(2, kFixed32) + raw(value);
  return framed(event_head(wall_time, step) + bytes_field(5, bytes_field(1, entry)));
}

// The name ends in what tells two starts within one second apart.
TensorBoard::TensorBoard(Disk& disk, const Path& folder, int64_t resume_step) {
  disk.make_folders(folder);
  std::array<char, 256> host = {};
  ::gethostname(host.data(), host.size() - 1);
  const double now = unix_seconds();
  file_ = disk.create(folder / format("events.out.tfevents.{:010d}.{}.{}.{}", int64_t(now),
                                      host.data(), ::getpid(), make_nonce(2)));
  add(version_event(now));
  add(start_event(now, resume_step));
}

TensorBoard::~TensorBoard() = default;

void TensorBoard::scalar(std::string_view tag, int64_t step, double value) {
  add(scalar_event(unix_seconds(), step, tag, float(value)));
}

void TensorBoard::add(const std::string& record) {
  file_->write_at(size_, record.data(), int64_t(record.size()));
  size_ += int64_t(record.size());
}

}  // namespace limpid
