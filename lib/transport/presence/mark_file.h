#pragma once

#include <string>

#include "os/directory.h"

namespace ipcm::transport {

// The files that mark a bus of ours: in its directory, or in the sidecar of its file.
//   .info          the info string of the bus, from its creation on
//   .info.closed   the same file while the bus is removed, so that no peer joins
//   .found         the directory or the file existed before the bus: a removal leaves it

inline constexpr const char* kMarkFile = ".info";
inline constexpr const char* kClosedMarkFile = ".info.closed";
inline constexpr const char* kFoundFile = ".found";

/// Returns whether the directory has the mark; one system call, for joining.
[[nodiscard]] bool has_mark(const os::Directory& directory);
/// Renames the mark so that no peer joins any more, and back.
void close_mark(const os::Directory& directory);
void reopen_mark(const os::Directory& directory);

/// Throws BusError for a directory of a bus that belongs to another user (root accepts any owner), or that
/// other users can write to. `path`: its name in the error.
void expect_private(const std::string& path, const os::FileFacts& facts);

}  // namespace ipcm::transport
