#include <algorithm>

#include "commands/commands.h"
#include "os/time_limit.h"
#include "program_options.h"
#include "wire/nearest.h"

namespace ipcm::launcher {

Client visit(const Options& options) { return ipcm_connect_anonymous(options.bus_info()); }

Duration time_left() {
  const auto limit = os::TimeLimit::current();
  if (limit.is_never()) return kNoLimit;
  const Duration left = limit.when() - os::Clock::now();
  return left == kNoLimit ? Duration(-1) : left;  // zero would be no limit
}

void suggest_peer(const PeerGone& gone, Client& client) {
  std::vector<std::string> peers;
  try {
    peers = client.peers();
  } catch (const Error&) {
    throw gone;  // the bus may have been removed
  }
  const bool was_there = std::find(peers.begin(), peers.end(), gone.peer()) != peers.end();
  const std::string near = was_there ? "" : wire::did_you_mean(gone.peer(), peers);
  throw PeerGone(gone.peer(), gone.what() + near, gone.status());
}

ServiceOptions service_options(const Options& options) {
  ServiceOptions service;
  service.class_name = options.class_name;
  if (options.program.is_given)
    service.args = program_args(options);
  else if (!options.args.empty())
    service.args = json_from(options.args, "--args");
  service.exec.emplace().path = options.boot_path();
  service.secret = options.secret;
  service.interval = options.interval;
  service.spin = options.spin;
  service.expose_error_details = options.expose_errors;
  service.new_session = true;  // Ctrl-C signals only this command, which ends the service
  service.redirect = options.redirect;
  if (service.redirect.in.empty()) service.redirect.in = "/dev/null";
  service.log = true;  // not our stdout and stderr: the caller may wait until all writers have closed them
  service.bus = options.spawn_options();
  service.redirect.keep_original = false;
  service.timeout = options.limit(std::chrono::seconds(10));
  return service;
}

}  // namespace ipcm::launcher
