#pragma once

#include "recipes/recipe.h"

namespace limpid {

// Whether a run's numbers depend on a key, so that a run cannot go on with another value of it.
bool changes_numbers(const std::string& key);

// The tables that limpid-train begins with: model, data, memory by kind.
void print_start(const Recipe&, Batches&, const Progress&, double peak_flops_per_s);
// --dry-run: the same without touching a run, with an estimate of the time. Data that is not there
// is said, not refused.
void print_dry_run(const Recipe&);
// What the first step really used of the activations' memory, by label.
void print_high_water(const Trainer&);
std::string validation_line(const ValidationSet&, int64_t step, double loss);

}  // namespace limpid
