#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "os/directory.h"

namespace ipcm::transport {

// Which files a bus puts into its directory, or into the sidecar of its file (sidecar.h). One table, in
// entries.cc: whatever the library or the reference writes there has its line, and nothing is ever removed
// that has none. An entry is known by three things: its name, its kind, and its owner (the owner of the
// directory, root, or us).

/// What a file of that name is to a bus.
enum class EntryRole {
  endpoint,  ///< a peer's own name: its kind tells whether a protocol knows it
  beside,    ///< beside an endpoint, as the reference has it: N.pid and others
  closed,    ///< `_N`: the mailbox of a peer that leaves
  hidden,    ///< ours: locks, logs, and files that are not finished
  mark       ///< ours: what makes the directory a bus. Removed last.
};
[[nodiscard]] EntryRole role_of_entry(std::string_view name);

/// The kinds of file that a protocol's endpoints are; empty: it has none there.
using EndpointKinds = std::vector<os::FileKind>;

/// Whether a bus has put that entry here. A mailbox has to hold messages and nothing else, and a regular
/// endpoint has to be empty.
[[nodiscard]] bool is_known_entry(const os::Directory& directory, const std::string& name,
                                  const EndpointKinds& endpoints);
/// Removes an entry if it is known, a mailbox with its messages. false: something stays there.
bool remove_known_entry(const os::Directory& directory, const std::string& name,
                        const EndpointKinds& endpoints);
/// Removes all known entries, the marks last. `names`: those of a list made just now. Returns the names of
/// those that stay. Throws SystemError if the directory can't be listed.
[[nodiscard]] std::vector<std::string> remove_known_entries(const os::Directory& directory,
                                                            const EndpointKinds& endpoints,
                                                            std::vector<std::string> names);
/// Removes the directory itself, unless another one has its path by now. Returns false if it is not empty.
[[nodiscard]] bool remove_emptied(const os::Directory& directory);

}  // namespace ipcm::transport
