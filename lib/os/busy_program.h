#pragma once

#include <string>

#include "os/clock.h"
#include "os/spawn.h"

namespace ipcm::os {

// A program that was just written can be busy for a moment (ETXTBSY): a process that was forked meanwhile has
// inherited the descriptor that it was written through, and keeps it until its own exec.

/// Whether that is why an exec failed.
[[nodiscard]] bool is_busy_program(const SpawnFailure& failure) noexcept;

/// Waits for the last writer of a program to close it; for a second at most.
class BusyProgram {
 public:
  explicit BusyProgram(std::string path);
  /// Whether the exec is worth another try: a writer has closed the file, or it was not waited for yet.
  /// false: the time is up.
  [[nodiscard]] bool await_change();

 private:
  std::string path_;
  Deadline end_;
  UniqueFd watch_;
  Deadline closing_ = Deadline::passed();  // a writer's close is under way until then
};

/// spawn(), again and again while the program is busy; `plan` makes the request.
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
