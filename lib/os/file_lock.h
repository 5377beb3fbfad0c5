#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "os/clock.h"
#include "os/descriptor.h"

namespace ipcm::os {

// A file that several processes read and rewrite under flock(2). The lock belongs to the open file
// description: the kernel releases it when the file is closed, also when the process dies.

enum class LockKind { shared, exclusive };
/// Acquires the lock. Returns false if another process still holds it at the deadline. The kernel reports no
/// unlock, and a wait inside flock() could not be ended; so this tries again after short pauses, a few
/// milliseconds at most.
[[nodiscard]] bool lock_whole_file(int fd, LockKind kind, Deadline deadline);

/// Releases the lock; the file stays open.
void unlock_whole_file(int fd) noexcept;

/// Returns the pid of the holder, as the kernel lists it. Returns nullopt if there is none, if it is in
/// another pid namespace, or if it is unknown.
[[nodiscard]] std::optional<Pid> file_lock_holder(const std::string& path);

/// Opens an existing file for reading, or for reading and writing. Empty if it does not exist. Throws
/// SystemError.
enum class Access { read, write };
[[nodiscard]] UniqueFd open_file(const std::string& path, Access access);
/// Reads the whole file. Throws ProtocolError beyond `limit`.
[[nodiscard]] std::string read_from_start(int fd, std::size_t limit, const char* what);
/// Empties the file, then writes. If the process is killed in between, the file has the beginning of the new
/// text, never a mix of both. Throws SystemError.
void rewrite(int fd, std::string_view text, const char* what);

}  // namespace ipcm::os
