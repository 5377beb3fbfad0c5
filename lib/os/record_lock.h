#pragma once

#include <optional>

#include "ipcm/basics.h"

namespace ipcm::os {

// POSIX record locks (fcntl F_SETLK): they end with the process that took them, whatever descriptors its
// children have inherited, and they tell who holds them. Their trap: closing any descriptor of the same file
// in the holding process drops the lock; transport/directory/lock_file.h contains it.

enum class LockAttempt { taken, held_by_other };
/// Locks the whole file for writing, without waiting.
[[nodiscard]] LockAttempt try_lock(int fd);
/// Who holds it: nullopt nobody (or we ourselves); 0: somebody in another pid namespace.
[[nodiscard]] std::optional<Pid> lock_holder(int fd);

}  // namespace ipcm::os
