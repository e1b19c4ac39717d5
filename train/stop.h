#pragma once

namespace limpid {

// Turns SIGTERM, SIGINT and SIGUSR1 into a question that the loop asks between micro-batches. Make
// it before any other thread starts. Once a stop was asked for, a second signal ends the process at
// once.
class StopRequest {
 public:
  StopRequest();
  bool raised();

 private:
  bool raised_ = false;
};

}  // namespace limpid
