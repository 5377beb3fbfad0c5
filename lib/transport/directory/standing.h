#pragma once

#include <optional>
#include <string>

#include "ipcm/bus.h"
#include "os/directory.h"

namespace ipcm::transport {

// What makes a directory a bus.
//
// A bus of ours has a mark from its creation: the file `.info`, which holds its info string. While the bus is
// removed the mark is called `.info.closed`: nobody joins any more, and a removal that was interrupted can go
// on. `.found` beside it tells that the directory was there before the bus: it stays.
//
// A bus of the reference has no mark. It is a directory named as the reference names them, or one in which
// every entry is what the protocols put there. An empty directory of mode 0700 can be joined, since the
// reference writes nothing into a new one; but it is not known to be a bus, so it is never removed.

struct Standing {
  enum class Is {
    no_bus,
    ours,       ///< `info` is what its mark says
    closed,     ///< the same; it is being removed, or a removal of it was interrupted
    reference,  ///< without a mark, and recognised
    empty,      ///< private, and nothing in it: may become one
    unfinished  ///< somebody makes it just now, or was killed over that
  };
  Is is = Is::no_bus;
  std::string why_not;  ///< no_bus
  std::optional<BusInfo> info;
  bool was_found = false;
  /// That it is a bus is proven: by a mark that names this directory, by its own name, or by a peer's files.
  bool is_proven = false;
};
/// Throws SystemError where the directory can't be read.
[[nodiscard]] Standing standing_of(const os::Directory& directory);

/// Throws BusError for a directory that is no bus, is being removed, or can't be trusted: it has to belong to
/// us (to anybody, if we are root), and nobody else may write to it. `path` is what the user calls it.
/// expect_bus() returns whether it has our mark.
bool expect_bus(const os::Directory& directory);

/// The protocol of a reference bus, as far as the kinds of its endpoints tell.
[[nodiscard]] std::string likely_protocol(const os::Directory& directory);
}  // namespace ipcm::transport
