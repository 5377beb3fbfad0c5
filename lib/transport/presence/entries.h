#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "os/directory.h"

namespace ipcm::transport {

// The files that a bus puts into its directory, or into the sidecar of its file (sidecar.h). One table in
// entries.cc has a line for each file that the library or the reference writes there; a file without a line
// is never removed. An entry is identified by its name, its kind, and its owner (the owner of the
// directory, root, or us).

/// The role of a file in a bus.
enum class EntryRole {
  endpoint,  ///< the name of a peer: its kind shows whether a protocol knows it
  beside,    ///< beside an endpoint, as in the reference: N.pid and others
  closed,    ///< `_N`: the mailbox of a peer that leaves
  hidden,    ///< ours: locks, logs, and files that are not finished
  mark       ///< ours: marks the directory as a bus. Removed last.
};
[[nodiscard]] EntryRole role_of_entry(std::string_view name);

/// The kinds of file that the endpoints of a protocol can be; empty: it has none there.
using EndpointKinds = std::vector<os::FileKind>;

/// Returns whether a bus has made that entry. A mailbox must hold messages only, and a regular endpoint
/// must be empty.
[[nodiscard]] bool is_known_entry(const os::Directory& directory, const std::string& name,
                                  const EndpointKinds& endpoints);
/// Removes an entry if it is known; a mailbox with its messages. Returns false if something stays.
bool remove_known_entry(const os::Directory& directory, const std::string& name,
                        const EndpointKinds& endpoints);
/// Removes all known entries, the marks last. `names`: a fresh list of the directory. Returns the names of
/// those that stay. Throws SystemError if the directory cannot be listed.
[[nodiscard]] std::vector<std::string> remove_known_entries(const os::Directory& directory,
                                                            const EndpointKinds& endpoints,
                                                            std::vector<std::string> names);
/// Removes the directory itself, unless another one has its path by now. Returns false if it is not empty.
[[nodiscard]] bool remove_emptied(const os::Directory& directory);

}  // namespace ipcm::transport
