#pragma once

#include <string>

#include "os/process_attributes.h"

namespace ipcm::os {

// Users and groups of /etc/passwd and /etc/group. The files are read by hand: getpwnam(3) loads modules, which a static
// program can't do. Users from elsewhere (LDAP) are given by their numbers.

/// Returns the identity of a user and a group, which are names or numbers. Empty: the user is that of this process, the
/// group that of the user. The supplementary groups are those of the user. Throws UsageError for a name that does not
/// exist, and for a number without an entry if its group is not given.
[[nodiscard]] Identity identity_of(const std::string& user, const std::string& group);

}  // namespace ipcm::os
