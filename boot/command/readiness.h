#pragma once

#include <memory>

#include "command/host.h"
#include "command/program.h"

namespace ipcm::command {

/// The wait of one program until it is ready. To add a kind: a class in a file of its own, a value in ReadyWhen, a word in
/// arguments.cc, and a line in make_readiness().
class Readiness {
 public:
  Readiness() = default;
  Readiness(const Readiness&) = delete;
  Readiness& operator=(const Readiness&) = delete;
  virtual ~Readiness() = default;

  /// Called before the start: may add descriptors and variables. Throws Error if the program must not be started now.
  virtual void prepare(os::SpawnRequest&) {}
  /// Called after the start. The program outlives this object.
  virtual void watch(Program&) {}
  /// Returns whether the program is ready; called after each event. It may take output: a line that is no answer. Throws
  /// Error if the program can't become ready. A program that has ended is the caller's matter, unless ends_well().
  virtual bool look(Program& program) = 0;
  /// Whether the end of the program with status 0 makes it ready.
  [[nodiscard]] virtual bool ends_well() const { return false; }
  /// Whether output before it is ready is left to look().
  [[nodiscard]] virtual bool reads_output() const { return false; }
};

[[nodiscard]] std::unique_ptr<Readiness> make_readiness(Host& host);

}  // namespace ipcm::command
