// ipcm stop: asks services to end, then sends SIGTERM, then SIGKILL; to all services at the same time.

#include <csignal>

#include "bus/take_down.h"
#include "commands/commands.h"
#include "report.h"
#include "wire/nearest.h"
#include "wire/printable.h"

namespace ipcm::launcher {

namespace {

struct ForcedNote {
  const bus::Forced& forced;

  void save(JsonWriter& archive) const {
    archive(cereal::make_nvp("note", std::string("it did not end when it was asked to, and was signalled")),
            cereal::make_nvp("name", foreign_text(forced.name)), cereal::make_nvp("signal", forced.signal));
  }
};

/// Reports that a signal ended a service, which may not have cleaned up.
void tell_force(const Options& options, const bus::Forced& one) {
  const std::string signal = one.signal == SIGKILL ? "SIGKILL" : "SIGTERM";
  if (options.json)
    complain_json(json_of(ForcedNote{one}));
  else
    complain("'" + wire::printable_name(one.name) + "' did not end when it was asked to; " + signal +
             " ended it");
}

}  // namespace

int stop(const Options& options) {
  if (options.all != options.words.empty()) throw UsageError("stop needs names, or --all");
  const auto member = visit(options);
  std::vector<std::string> names = options.words;
  if (options.all) names = member->transport().peers();
  for (const std::string& name : names) {
    const auto state = member->transport().look(name).state;
    if (state == transport::PeerFacts::State::absent || state == transport::PeerFacts::State::dead)
      throw PeerGone(name, "'" + wire::printable_name(name) + "' is not on the bus " + member->info().route +
                               wire::did_you_mean(name, member->transport().peers()) +
                               "; `ipcm ps` lists those that are");
  }
  std::vector<bus::Forced> forced;
  const auto left =
      bus::stop_peers(options.bus_info(), names, options.limit(std::chrono::seconds(30)), &forced);
  for (const bus::Forced& one : forced) tell_force(options, one);
  if (!left.empty()) {
    if (bus::all_proven(left)) throw Timeout("did not end, not even by SIGKILL: " + bus::describe(left));
    std::string who;
    for (const bus::Stayed& one : left) who.append(who.empty() ? "'" : ", '").append(one.name).append("'");
    throw Timeout(who + " did not leave; its process can't be proven from here, so it was asked to end but " +
                  "got no signal; end it where it runs");
  }
  for (const std::string& name : names) tell(options, "'" + name + "' has ended");
  return number(Status::done);
}

}  // namespace ipcm::launcher
