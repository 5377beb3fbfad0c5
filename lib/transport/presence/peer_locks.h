#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "os/directory.h"

namespace ipcm::transport {

/// `.N.lock`, the lock file of the peer whose name on disk is N.
[[nodiscard]] std::string lock_file_of(const std::string& disk_name);
/// Returns whether a file name is that of a peer's lock, and not of the owner's.
[[nodiscard]] bool is_lock_of_peer(std::string_view name);
/// Returns a living peer of ours in another process, by its lock; nullopt: there is none. Call after
/// close_mark(): a peer without an endpoint is then about to release its lock, and the function waits a
/// moment for that. `endpoints`: whether peers have endpoints in this directory; if not, the function waits
/// for each peer.
[[nodiscard]] std::optional<std::string> living_peer(const os::Directory& directory, bool endpoints);

}  // namespace ipcm::transport
