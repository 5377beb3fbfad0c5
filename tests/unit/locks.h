#pragma once

// Locks and processes as other processes see them.

#include <fcntl.h>

#include <string>

#include "os/record_lock.h"
#include "unit/forked.h"

namespace ipcm::test {

/// Returns a process id that was in use a moment ago and names no process now.
[[nodiscard]] inline Pid dead_pid() {
  HeldChild child([](const auto& stay) { stay(); });
  const Pid pid = child.pid();
  child.kill();
  return pid;
}

/// Returns whether another process finds the file locked.
[[nodiscard]] inline bool lock_is_held_for_others(const std::string& path) {
  return in_child([&] {
           const os::UniqueFd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
           return os::try_lock(file.get()) == os::LockAttempt::held_by_other ? 0 : 1;
         }) == 0;
}

}  // namespace ipcm::test
