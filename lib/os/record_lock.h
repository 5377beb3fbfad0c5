#pragma once

#include <optional>

#include "ipcm/basics.h"

namespace ipcm::os {

// POSIX record locks (fcntl F_SETLK). They end with the process that acquired them, even if its children have
// inherited the descriptor, and the kernel reports the holder. The danger: closing any descriptor of the same
// file in the holding process drops the lock; transport/presence/lock_file.h prevents that.

enum class LockAttempt { taken, held_by_other };
/// The locked part of the file: all of it, or all but its first byte. `tail` excludes `whole` and other `tail`
/// locks as well, and can be told from `whole`.
enum class LockPart { whole, tail };
/// Acquires a write lock on that part, without waiting.
[[nodiscard]] LockAttempt try_lock(int fd, LockPart part = LockPart::whole);
struct LockHolder {
  Pid pid = 0;  ///< 0: the holder is in another pid namespace
  LockPart part = LockPart::whole;
};
/// Returns the holder; nullopt if there is none, or if this process holds the lock.
[[nodiscard]] std::optional<LockHolder> lock_holder(int fd);

}  // namespace ipcm::os
