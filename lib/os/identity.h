#pragma once

#include <optional>
#include <string>

#include "ipcm/basics.h"
#include "os/descriptor.h"
#include "os/directory.h"

namespace ipcm::os {

/// `prefix`, our pid for people to read, and random letters: the pid alone is not unique where processes of
/// several pid namespaces meet.
[[nodiscard]] std::string unique_name(const std::string& prefix);

// What the kernel vouches for about the processes of others.
//
// A pid that stands in a file is a claim. Its writer may have ended, and the number may belong to another
// process by now, or be the number of a thread; or the writer lives in another pid namespace, where the same
// number means another process. Nothing is signalled or removed on a claim alone.

/// What can be seen here of a process that noted its own number somewhere.
enum class Seen {
  runs,       ///< A process of that number runs here. It need not be the one that noted it.
  elsewhere,  ///< None here; one of another pid namespace has that number there.
  ended,      ///< No process of this machine has it, in any pid namespace.
  nowhere,    ///< None has it that can be seen from here; it may run where we can't see it.
};
/// Our own number counts as one that no process has here: the caller knows that it did not note it. Only a
/// process in the machine's first pid namespace, with all of /proc to see, can find `ended`. That takes a
/// look at each process of the machine, and happens only where none of that number runs here.
[[nodiscard]] Seen look_for_process(Pid noted);

/// Whether a process reads what is sent to an endpoint; it need not be the one that made it.
enum class Endpoint { read, dead, unknown };
/// Connects to the socket at `directory`/`name`, and says nothing; or opens the pipe. `dead`: the connection
/// was refused, or nobody has the pipe open to read from.
[[nodiscard]] Endpoint look_at_stream(const Directory& directory, const std::string& name);
[[nodiscard]] Endpoint look_at_datagrams(const Directory& directory, const std::string& name);
[[nodiscard]] Endpoint look_at_fifo(const Directory& directory, const std::string& name);

/// A pidfd of the process that listens at the other end of a stream socket that we have connected to
/// `endpoint`. Empty: it can't be proven from here. It has to run as the user that the endpoint belongs to: a
/// path can be led to the socket of somebody else while we connect. Kernels before 6.5 tell a number only; a
/// process that is younger than the endpoint has only got the number after another one.
[[nodiscard]] UniqueFd process_of_listener(int connected, const FileFacts& endpoint);

}  // namespace ipcm::os
