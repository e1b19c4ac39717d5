#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/state.h"
#include "core/file.h"

namespace limpid {

// All that a journal tells, in the order of its lines.
struct JournalContents {
  std::vector<StepRecord> steps;
  std::vector<ValidationRecord> validation;
  std::vector<Event> events;
  int64_t attempts = 0;    // the largest that an event names
  int64_t good_bytes = 0;  // where a torn last line begins, or the end
};

// RUN/journal.jsonl: one JSON object a line, the last member its CRC-32C. Lines are only ever
// added; each reaches the operating system at once and the medium with sync().
class Journal {
 public:
  // Continues the journal of a run folder: reads it whole, cuts off a torn last line and says so.
  // Throws Error naming the line where another is damaged.
  Journal(Disk&, const Path& run);
  ~Journal();

  int64_t attempt() const { return attempt_; }  // this start of the run, from 1
  // Fills record.attempt. Warns, once, where an earlier attempt did the same step with another
  // digest.
  void step(StepRecord record);
  void validation(const ValidationRecord&);
  // kind: "start", "resume", "skip", "stop", "save-failed", "change" ...
  void event(const Event&);
  void sync();

 private:
  void add(const std::string& body);

  std::unique_ptr<File> file_;
  int64_t size_ = 0;
  int64_t attempt_ = 1;
  bool warned_ = false;
  std::map<int64_t, std::string> earlier_digests_;  // by step
};

// Throws Error with the line's number for damage other than a torn last line.
JournalContents read_journal(const Path& file);

}  // namespace limpid
