#pragma once

#include <memory>
#include <optional>

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
  /// Called after each event when the program is ready. Throws Error if it must be ended.
  virtual void supervise(Program&) {}
  /// Returns the time from now on that the program asks for until it must be ready; each wish once.
  [[nodiscard]] virtual std::optional<Duration> more_time() { return std::nullopt; }
  /// Whether the end of the program with status 0 makes it ready.
  [[nodiscard]] virtual bool ends_well() const { return false; }
  /// Whether output before it is ready is left to look().
  [[nodiscard]] virtual bool reads_output() const { return false; }
};

[[nodiscard]] std::unique_ptr<Readiness> make_readiness(Host& host);

// The kinds with a file of their own.
[[nodiscard]] std::unique_ptr<Readiness> ready_exec(Host& host);
[[nodiscard]] std::unique_ptr<Readiness> ready_fd(Host& host);
[[nodiscard]] std::unique_ptr<Readiness> ready_notify(Host& host);
[[nodiscard]] std::unique_ptr<Readiness> ready_port(Host& host);

}  // namespace ipcm::command
