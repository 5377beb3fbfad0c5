#pragma once

#include <string>

#include "os/clock.h"
#include "os/spawn.h"

namespace ipcm::os {

// A program file that was just written can be busy for a moment (ETXTBSY): a process that was forked
// meanwhile has inherited the descriptor for writing, and keeps it until its own exec.

/// Whether an exec failed because the program file was busy.
[[nodiscard]] bool is_busy_program(const SpawnFailure& failure) noexcept;

/// Waits until the last writer of a program file has closed it; a second at most.
class BusyProgram {
 public:
  explicit BusyProgram(std::string path);
  /// Returns true if the exec is worth another attempt: a writer has closed the file, or this is the first
  /// call. Returns false when the second is over.
  [[nodiscard]] bool await_change();

 private:
  std::string path_;
  Deadline end_;
  UniqueFd watch_;
  Deadline closing_ = Deadline::passed();  // until then, a writer's close may still be under way
};

/// Calls spawn() again as long as the program is busy; `plan` makes each request.
template <class Plan>
[[nodiscard]] std::variant<Child, SpawnFailure> spawn_when_written(const std::string& program, Plan&& plan) {
  auto made = spawn(plan());
  const auto* failure = std::get_if<SpawnFailure>(&made);
  if (failure == nullptr || !is_busy_program(*failure)) return made;
  BusyProgram busy(program);
  while (busy.await_change()) {
    made = spawn(plan());
    failure = std::get_if<SpawnFailure>(&made);
    if (failure == nullptr || !is_busy_program(*failure)) break;
  }
  return made;
}

}  // namespace ipcm::os
