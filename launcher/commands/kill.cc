// ipcm kill: sends a signal to the processes of members.

#include "commands/commands.h"
#include "ipcm/peer_info.h"

namespace ipcm::launcher {

int kill(const Options& options) {
  Client client = visit(options);
  try {
    // A wrong name, or a process that can't be proven from here, keeps all of them from being signalled.
    constexpr int kNoSignal = 0;
    for (const std::string& name : options.words) signal_peer(client, name, kNoSignal);
    for (const std::string& name : options.words) signal_peer(client, name, options.signal);
  } catch (const PeerGone& gone) {
    suggest_peer(gone, client);
  }
  return number(Status::done);
}

}  // namespace ipcm::launcher
