#pragma once

#include "parallel/schedule.h"

namespace limpid {

// Whether a send waits until its recv begins, or goes on at once.
enum class Sends { wait, go_on };

// Lets all stages go on until none can; each recv waits for its send. done: how many actions of its
// list each stage has done. Returns whether that is all of them.
bool advance(const Schedule&, Sends, std::vector<size_t>& done);

// Puts sends and recvs around what each stage computes: receives as late as can be, sends at once.
// Where stages would then wait for each other in a circle, because sends wait for their recvs, one
// of them receives earlier.
Schedule with_transfers(Schedule);

}  // namespace limpid
