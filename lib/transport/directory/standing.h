#pragma once

#include <optional>
#include <string>

#include "ipcm/bus_info.h"
#include "os/directory.h"

namespace ipcm::transport {

// How a directory is recognised as a bus.
//
// A bus of ours has a mark from its creation (mark_file.h). A bus of the reference has none: it is a
// directory with a name of the form that the reference uses, or one in which every entry is a file of a
// protocol. An empty directory of mode 0700 can be joined, since the reference writes nothing into a new
// one; but it is not known to be a bus, so it is never removed.

struct Standing {
  enum class Is {
    no_bus,
    ours,       ///< with a mark; `info` is its content
    closed,     ///< with a closed mark; its removal is under way, or was interrupted
    reference,  ///< recognised without a mark
    empty,      ///< private and empty: it may become a bus
    unfinished  ///< a process is making it, or was killed while it did
  };
  Is is = Is::no_bus;
  std::string why_not;  ///< no_bus
  std::optional<BusInfo> info;
  bool was_found = false;
  /// Proven to be a bus: by a mark that names this directory, by its name, or by the files of a peer.
  bool is_proven = false;
};
/// Returns what a directory is. Throws SystemError if it cannot be read.
[[nodiscard]] Standing standing_of(const os::Directory& directory);

/// Throws BusError for a directory that is no bus, or is being removed. Returns whether it has a mark of
/// ours.
bool expect_bus(const os::Directory& directory);

/// Returns the protocol of a reference bus, as far as the kinds of its endpoints show it.
[[nodiscard]] std::string likely_protocol(const os::Directory& directory);
}  // namespace ipcm::transport
