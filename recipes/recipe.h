#pragma once

#include <map>

#include "checkpoint/save.h"
#include "data/batches.h"
#include "model/config.h"
#include "optim/optimizer.h"
#include "optim/schedule.h"
#include "train/meter.h"
#include "train/trainer.h"

namespace limpid {

enum class DeviceChoice { automatic, cpu, cuda };

// All that a run is told: every component's Config, read from TOML files and --set, each value with
// where it came from.
struct Recipe {
  int64_t seed = 1;
  DeviceChoice device = DeviceChoice::automatic;
  std::string run = "runs/limpid";
  ModelConfig model;
  DataConfig data;
  OptimizerConfig optimizer;
  ScheduleConfig schedule;
  TrainConfig train;
  ValidationConfig validation;
  CheckpointConfig checkpoint;
  LogConfig log;

  // Where each key that is not a default was set: "recipe.toml:12", "--set".
  std::map<std::string, std::string> origins;

  // Reads the files from left to right, then the settings "a.b=c". Throws Error with all that is
  // wrong at once: unknown keys, with the nearest known one, wrong types and impossible values,
  // each with the key, the file's line and what would be right.
  static Recipe load(const std::vector<std::string>& files,
                     const std::vector<std::string>& settings);
  // The same from TOML text; name stands for the file in messages.
  static Recipe parse(const std::string& text, const std::string& name,
                      const std::vector<std::string>& settings = {});

  void fields(Fields&);
  // The device to run on. Throws Error where it is not there.
  Device resolve_device() const;
  // The resolved recipe as TOML that loads to the same: each value with its origin and meaning as a
  // comment.
  std::string to_toml() const;
};

// Every key with its default, what it may be and what it means.
std::string recipe_help();

}  // namespace limpid
