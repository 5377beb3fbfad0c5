#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "os/clock.h"
#include "os/descriptor.h"

namespace ipcm::os {

// A file that several processes read and rewrite under flock(2). The lock belongs to the open file: closing
// it lets it go, and a process that dies does so.

enum class LockKind { shared, exclusive };
/// false: somebody else has it still, when the deadline comes. The kernel tells nobody of an unlock, and a
/// wait inside flock() could not be ended; so this looks again after a moment, a few milliseconds at most.
[[nodiscard]] bool lock_whole_file(int fd, LockKind kind, Deadline deadline);

/// Lets it go, the file staying open.
void unlock_whole_file(int fd) noexcept;

/// Who has such a lock on that file, as the kernel lists it; nullopt: nobody, somebody in another pid
/// namespace, or it can't be told.
[[nodiscard]] std::optional<Pid> file_lock_holder(const std::string& path);

/// For reading; or for both, the file not being made. Empty: it is not there. Throws SystemError.
enum class Access { read, write };
[[nodiscard]] UniqueFd open_file(const std::string& path, Access access);
/// All that is in it, from its start. Throws ProtocolError beyond `limit`.
[[nodiscard]] std::string read_from_start(int fd, std::size_t limit, const char* what);
/// Empties it, then writes: whoever is killed in between leaves the beginning of the new text, never a mix of
/// both. Throws SystemError.
void rewrite(int fd, std::string_view text, const char* what);

}  // namespace ipcm::os
