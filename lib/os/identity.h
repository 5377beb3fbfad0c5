#pragma once

#include <optional>
#include <string>

#include "ipcm/basics.h"
#include "os/descriptor.h"
#include "os/directory.h"

namespace ipcm::os {

/// Returns `prefix`, our pid (for human readers), and random letters: the pid alone is not unique if
/// processes of several pid namespaces meet.
[[nodiscard]] std::string unique_name(const std::string& prefix);

// Facts about other processes that the kernel vouches for.
//
// A pid in a file is a claim. Its writer may have ended, and the number may belong to another process or to a
// thread by now. Or the writer lives in another pid namespace, where the same number means another process.
// Nothing is signalled or removed on a claim alone.

/// The facts that are visible here about a process that wrote its own pid into a file.
enum class Seen {
  runs,       ///< A process with that pid runs here. It need not be the one that wrote it.
  elsewhere,  ///< No process here has it; a process of another pid namespace has it there.
  ended,      ///< No process of this machine has it, in any pid namespace.
  nowhere,    ///< No visible process has it; an invisible one may.
};
/// Our own pid counts as a pid that no process here has: the caller knows that this process did not write it.
/// Only a process in the first pid namespace of the machine that sees all of /proc can find `ended`. For that
/// it looks at each process of the machine, and only if no process here has that pid.
[[nodiscard]] Seen look_for_process(Pid noted);

/// Whether some process reads from an endpoint; it need not be the one that made it.
enum class Endpoint { read, dead, unknown };
/// Connects to the socket at `directory`/`name` and sends nothing, or opens the pipe there. `dead`: the
/// socket refused the connection, or no process has the pipe open for reading.
[[nodiscard]] Endpoint look_at_stream(const Directory& directory, const std::string& name);
[[nodiscard]] Endpoint look_at_datagrams(const Directory& directory, const std::string& name);
[[nodiscard]] Endpoint look_at_fifo(const Directory& directory, const std::string& name);

/// Returns a pidfd of the process that listens at the other end of a stream socket that is connected to
/// `endpoint`. Empty if that can't be proven. The process must run as the owner of the endpoint: another user
/// could redirect the path while we connect. Kernels before 6.5 report only a pid; a process that is younger
/// than the endpoint must have got that pid after the listener ended.
[[nodiscard]] UniqueFd process_of_listener(int connected, const FileFacts& endpoint);

}  // namespace ipcm::os
