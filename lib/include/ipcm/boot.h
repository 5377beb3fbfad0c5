#pragma once

#include <memory>
#include <optional>

#include "ipcm/registry.h"

namespace ipcm {

/// The whole of a boot binary's main(): takes the parameters (docs/boot.md), finds the class in `registry`,
/// joins the bus, says ready, serves, leaves. Returns the exit status: the service's own; 64 bad parameters,
/// 69 the bus is unavailable, 70 the service threw, 71 a system error, 127 an unknown class. Also does
/// --list, --list --json, --help.
[[nodiscard]] int boot(int argc, char** argv, const Registry& registry);

struct BeginOptions {
  /// A service that was served inside begin() has ended: its exit status is returned, instead of exiting with
  /// it, so that the program can go on.
  bool run_returns_to_caller = false;
};

/// What begin() found.
class BootResult {
 public:
  BootResult() = default;
  BootResult(BootResult&&) noexcept;
  BootResult& operator=(BootResult&&) noexcept;
  ~BootResult();
  /// The process was started as a service that has not been served yet: call run().
  [[nodiscard]] bool is_service() const noexcept { return state_ != nullptr; }
  /// Serves it to its end and returns its exit status. Throws UsageError if there is none, or it was served.
  [[nodiscard]] int run();
  /// The exit status of a service that was served inside begin().
  [[nodiscard]] const std::optional<int>& status() const noexcept { return status_; }

  // For the library itself.
  struct State;

 private:
  friend BootResult begin(int, char**, const Registry&, const BeginOptions&);
  std::unique_ptr<State> state_;
  std::optional<int> status_;
};

/// For a program that is its own boot binary and something else as well; call it first in main(). If the
/// command line is no boot contract (no --ready-fd, no --params-fd, no JSON object alone), it returns at
/// once, and the program goes on as itself. Otherwise the process is to be a service: with `stay_in_begin`
/// (Exec) it is served here to its end, and the process exits with its status (see BeginOptions); without,
/// BootResult::run() serves it when the program is ready for that. What is wrong with the parameters ends the
/// process as boot() would.
[[nodiscard]] BootResult begin(int argc, char** argv, const Registry& registry,
                               const BeginOptions& options = {});

}  // namespace ipcm
