#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "ipcm/basics.h"
#include "ipcm/bus_info.h"

namespace ipcm {

/// The options of a new bus.
struct SpawnOptions {
  /// The bus uses the first of these protocols that works on this machine. Empty: $IPCM_PROTOCOL, else
  /// ConnectionUnix.
  std::vector<std::string> protocols = {};
  std::string serializer = "JSON";
  std::map<std::string, std::string> serializer_options = {};
  /// An existing store to use, such as a database. Its earlier content stays when the bus is taken down.
  /// Empty: the bus makes a new one.
  std::string route = {};
  Credentials credentials = {};
  /// The directory in which the bus makes its own. Empty: $XDG_RUNTIME_DIR, else $TMPDIR, else /tmp.
  std::string parent_directory = {};
  /// Whether the destructor of the Guard takes the bus down. Otherwise it stays until Guard::unspawn().
  bool guard = true;
  /// The time that peers have to leave after they were asked to.
  Duration patience = std::chrono::seconds(60);
  /// Services and children of this process that still run get SIGTERM after `polite_time`, and SIGKILL
  /// `term_time` later. (A service gives its own workers 15 s.)
  Duration polite_time = std::chrono::seconds(5);
  Duration term_time = std::chrono::seconds(20);
  /// A descriptor that hurries the shutdown when it becomes readable: services and children of this process
  /// get SIGTERM at once, and SIGKILL half a second later; nobody waits for other peers. For a command whose
  /// user presses Ctrl-C a second time. Borrowed for as long as the bus exists; never read. -1: none.
  int hurry_fd = -1;
  /// A signal for the processes of all peers, before they are asked to end. 0: none.
  int signal = 0;
  /// Whether shutdown() checks the statistics after all peers have left. It throws an Error that names the
  /// pairs of peers whose counts differ.
  bool do_sanity_check = false;
};

}  // namespace ipcm
