// ipcm stop: asks services to end, then sends SIGTERM, then SIGKILL; to all services at the same time.

#include <csignal>

#include "commands/commands.h"
#include "ipcm/service_parameters.h"
#include "ipcm/stop.h"
#include "report.h"
#include "wire/nearest.h"
#include "wire/printable.h"

namespace ipcm::launcher {

namespace {

struct ForcedNote {
  const ForcedPeer& forced;

  void save(JsonWriter& archive) const {
    archive(cereal::make_nvp("note", std::string("it did not end when it was asked to, and was signalled")),
            cereal::make_nvp("name", foreign_text(forced.name)), cereal::make_nvp("signal", forced.signal));
  }
};

/// Reports that a signal ended a service, which may not have cleaned up.
void tell_force(const Options& options, const ForcedPeer& one) {
  const std::string signal = one.signal == SIGKILL ? "SIGKILL" : "SIGTERM";
  if (options.json)
    complain_json(json_of(ForcedNote{one}));
  else
    complain("'" + wire::printable_name(one.name) + "' did not end when it was asked to; " + signal +
             " ended it");
}

}  // namespace

void end_services(const Options& options, const std::vector<std::string>& names) {
  const auto [left, forced] = stop_peers(options.bus_info(), names, options.limit(std::chrono::seconds(30)));
  for (const ForcedPeer& one : forced) tell_force(options, one);
  if (!left.empty()) {
    if (all_proven(left)) throw Timeout("did not end, not even by SIGKILL: " + describe(left));
    std::string who;
    for (const StayedPeer& one : left) who.append(who.empty() ? "'" : ", '").append(one.name).append("'");
    throw Timeout(who + " did not leave; its process can't be proven from here, so it was asked to end but " +
                  "got no signal; end it where it runs");
  }
  for (const std::string& name : names) tell(options, "'" + name + "' has ended");
}

int stop(const Options& options) {
  if (options.all != options.words.empty()) throw UsageError("stop needs names, or --all");
  Client client = visit(options);
  std::vector<std::string> names = options.words;
  if (options.all) names = client.peers();
  for (const std::string& name : names)
    if (!client.peer_exists(name))
      throw PeerGone(name, "'" + wire::printable_name(name) + "' is not on the bus " + client.info().route +
                               wire::did_you_mean(name, client.peers()) + "; `ipcm ps` lists those that are");
  end_services(options, names);
  for (const std::string& name : names)
    forget_service_parameters(client.info(), name);  // not to be restarted
  return number(Status::done);
}

}  // namespace ipcm::launcher
