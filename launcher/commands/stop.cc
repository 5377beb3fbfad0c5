// ipcm stop: the word to end, then SIGTERM, then SIGKILL; all at once.

#include "bus/take_down.h"
#include "commands/commands.h"
#include "report.h"

namespace ipcm::launcher {

int stop(const Options& options) {
  if (options.all != options.words.empty()) throw UsageError("stop wants names, or --all");
  const auto member = visit(options);
  std::vector<std::string> names = options.words;
  if (options.all) names = member->transport().peers();
  for (const std::string& name : names) {
    const auto state = member->transport().look(name).state;
    if (state == transport::PeerFacts::State::absent || state == transport::PeerFacts::State::dead)
      throw PeerGone(name,
                     "'" + name + "' is not on the bus " + member->info().route + "; `ipcm ps` lists who is");
  }
  const auto left = bus::stop_peers(options.bus_info(), names, options.limit(std::chrono::seconds(30)));
  if (!left.empty()) {
    if (bus::all_proven(left)) throw Timeout("did not end, not even by SIGKILL: " + bus::describe(left));
    std::string who;
    for (const bus::Stayed& one : left) who.append(who.empty() ? "'" : ", '").append(one.name).append("'");
    throw Timeout(who + " did not leave; its process can't be proven from here, so it was told to end and " +
                  "not signalled; end it where it runs");
  }
  for (const std::string& name : names) tell(options, "'" + name + "' has ended");
  return number(Status::done);
}

}  // namespace ipcm::launcher
