// ipcm restart: ends a service that `ipcm start` has started, and starts it again with the same parameters.

#include "commands/commands.h"
#include "ipcm/peer_info.h"
#include "ipcm/service_parameters.h"
#include "report.h"
#include "stored_start.h"
#include "wire/nearest.h"
#include "wire/printable.h"

namespace ipcm::launcher {
namespace {

/// Returns the start that is to be repeated. Throws PeerGone if there is no such service, and UsageError with the
/// reason if its parameters are not known.
StoredStart stored_start(const Options& options, Client& client, const std::optional<PeerInfo>& peer) {
  const std::string who = "'" + wire::printable_name(options.name) + "' ";
  const auto text = stored_service_parameters(options.bus_info(), options.name);
  if (!text && !peer)
    throw PeerGone(options.name, who + "is not on the bus " + client.info().route +
                                     wire::did_you_mean(options.name, client.peers()) +
                                     ", and `ipcm start` has left no parameters to start it again");
  const std::string do_it_yourself = "; end it with `ipcm stop`, and start it as before";
  if (!text)
    throw UsageError(
        who + "can't be restarted: it was not started by `ipcm start`, so its parameters are not known" +
        do_it_yourself);
  StoredStart start = StoredStart::parse(*text);
  if (start.secret)
    throw UsageError(who + "can't be restarted: its parameters are secret (--secret), and were not stored" +
                     do_it_yourself);
  if (peer && !peer->is_elsewhere && peer->pid && *peer->pid != start.pid)
    throw UsageError(who + "can't be restarted: process " + std::to_string(*peer->pid) +
                     " has the name now, and `ipcm start` has started process " + std::to_string(start.pid) +
                     do_it_yourself);
  return start;
}

}  // namespace

int restart(const Options& options) {
  ServiceOptions service = service_options(options);
  bool was_there = false;
  {
    Client client = visit(options);
    const auto peer = peer_info(client, options.name);
    stored_start(options, client, peer).apply(service);
    was_there = peer.has_value();
  }
  if (was_there) end_services(options, {options.name});
  try {
    return start_service(options, options.name, std::move(service));
  } catch (const LaunchError& error) {
    throw LaunchError(std::string(error.what()) + (was_there ? "; the former process has ended" : "") +
                          "; `ipcm restart` tries again with the same parameters",
                      error.facts());
  }
}

}  // namespace ipcm::launcher
