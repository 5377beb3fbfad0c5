#include <algorithm>

#include "bus/transient_client.h"
#include "commands/commands.h"
#include "wire/nearest.h"

namespace ipcm::launcher {

std::unique_ptr<bus::Member> visit(const Options& options, Visit how) try {
  transport::JoinRequest request;
  request.info = options.bus_info();
  request.name = bus::transient_client_name();
  request.anonymous = how == Visit::unseen;
  auto member = std::make_unique<bus::Member>(request, std::make_shared<Loop>(), bus::Member::Sending::waits);
  member->counts().store(bus::transient_clients_count(request.info));
  return member;
} catch (const SystemError& error) {
  throw BusError(std::string("the bus can't be used: ") + error.what());
}

void suggest_peer(const PeerGone& gone, bus::Member& member) {
  std::vector<std::string> peers;
  try {
    peers = member.transport().peers();
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
  if (!options.args.empty()) service.args = json_from(options.args, "--args");
  service.exec.emplace().path = options.boot_path();
  service.secret = options.secret;
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
