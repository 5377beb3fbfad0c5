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
    std::string who;
    for (const std::string& name : left) who.append(who.empty() ? "'" : ", '").append(name).append("'");
    throw Timeout("did not end, not even by SIGKILL: " + who);
  }
  for (const std::string& name : names) tell(options, "'" + name + "' has ended");
  return number(Status::done);
}

}  // namespace ipcm::launcher
