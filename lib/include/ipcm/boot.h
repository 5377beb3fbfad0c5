#pragma once

#include <memory>
#include <optional>

#include "ipcm/registry.h"

namespace ipcm {

/// Does all that the main() of a boot binary has to do: reads the parameters (docs/boot.md), finds the class
/// in `registry`, joins the bus, reports ready, serves, and leaves the bus. Returns the exit status: that of
/// the service; 64 bad parameters; 69 the bus is unavailable, or the name is taken; 70 the service threw;
/// 71 a system error; 74 output could not be written; 127 an unknown class. Also handles the options --list,
/// --list --json and --help.
[[nodiscard]] int boot(int argc, char** argv, const Registry& registry);

struct BeginOptions {
  /// Whether begin() returns after a service that it served itself has ended, so that the program can go on;
  /// BootResult::status() has the exit status. Otherwise the process exits with that status.
  bool run_returns_to_caller = false;
};

/// The result of begin().
class BootResult {
 public:
  BootResult() = default;
  BootResult(BootResult&&) noexcept;
  BootResult& operator=(BootResult&&) noexcept;
  ~BootResult();
  /// Whether the process was started as a service that has not been served yet. If so, call run().
  [[nodiscard]] bool is_service() const noexcept { return state_ != nullptr; }
  /// Serves the service to its end and returns its exit status. Throws UsageError if there is no service, or
  /// if it was already served.
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

/// Checks whether this process was started as a service. For a program that is its own boot binary and has
/// other tasks as well; call it first in main().
///
/// If the command line does not follow the boot contract (it has neither --ready-fd nor --params-fd, and is
/// not a single JSON object), begin() returns at once. Otherwise the process becomes a service. With
/// `stay_in_begin` (Exec), begin() serves it to its end, and the process exits with its status (see
/// BeginOptions). Without, the program calls BootResult::run() when it is ready to serve. If the parameters
/// are wrong, the process exits with the status that boot() would return.
[[nodiscard]] BootResult begin(int argc, char** argv, const Registry& registry,
                               const BeginOptions& options = {});

}  // namespace ipcm
