#pragma once

#include <optional>

#include "ipcm/basics.h"

namespace ipcm::os {

// POSIX record locks (fcntl F_SETLK): they end with the process that took them, whatever descriptors its
// children have inherited, and they tell who holds them. Their trap: closing any descriptor of the same file
// in the holding process drops the lock; transport/presence/lock_file.h contains it.

enum class LockAttempt { taken, held_by_other };
/// Of the file: all of it; or all but its first byte, which excludes the former and each other as well, and
/// can be told from it.
enum class LockPart { whole, tail };
/// Locks that for writing, without waiting.
[[nodiscard]] LockAttempt try_lock(int fd, LockPart part = LockPart::whole);
struct LockHolder {
  Pid pid = 0;  ///< 0: somebody in another pid namespace
  LockPart part = LockPart::whole;
};
/// nullopt: nobody holds it, or we ourselves.
[[nodiscard]] std::optional<LockHolder> lock_holder(int fd);

}  // namespace ipcm::os
