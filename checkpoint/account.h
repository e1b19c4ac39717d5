#pragma once

#include <map>
#include <string>
#include <vector>

#include "checkpoint/state.h"
#include "core/hdf5.h"

// account.h5: texts and small tables, by the names that docs/checkpoints.md lists.
namespace limpid {

void write_account(hdf5::Writer&, const State&, const Account&);
// An upper bound of the file's size.
int64_t account_bytes(const Account&);

std::map<std::string, int64_t> read_counters(const hdf5::Reader&);
OrderLog read_order(const hdf5::Reader&);
std::vector<StepRecord> read_metrics(const hdf5::Reader&);
std::vector<ValidationRecord> read_validation(const hdf5::Reader&);
std::vector<Event> read_events(const hdf5::Reader&);

}  // namespace limpid
