#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "os/directory.h"

namespace ipcm::transport {

/// `.N.lock`, the lock file of the peer whose name on disk is N.
[[nodiscard]] std::string lock_file_of(const std::string& disk_name);
/// Whether a peer that holds `.N.lock` may be seen in it: not the owner's lock.
[[nodiscard]] bool is_lock_of_peer(std::string_view name);
/// A peer of ours in another process that lives, by the lock that it holds; nullopt: nobody. A peer that has
/// no endpoint any more, or not yet, is about to let its lock go, since the mark is closed: that is waited
/// for, a moment. `endpoints`: whether the peers of that directory have any; otherwise each one is waited
/// for.
[[nodiscard]] std::optional<std::string> living_peer(const os::Directory& directory, bool endpoints);

}  // namespace ipcm::transport
