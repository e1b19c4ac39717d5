#pragma once

#include <map>
#include <string>

#include "core/queue.h"

// For the CUDA backend's own sources only.
namespace limpid::cuda {

// Of a queue: what was chosen, by the name of the choice.
class Choices {
 public:
  explicit Choices(Queue&) {}

  // "" where nothing was chosen yet.
  std::string find(const std::string& name) const {
    const auto found = values_.find(name);
    return found == values_.end() ? "" : found->second;
  }
  void set(const std::string& name, const std::string& value) { values_[name] = value; }
  const std::map<std::string, std::string>& all() const { return values_; }

 private:
  std::map<std::string, std::string> values_;
};

}  // namespace limpid::cuda
