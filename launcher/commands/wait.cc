// ipcm wait: waits until peers can receive, or until they have left the bus.

#include <map>

#include "commands/commands.h"
#include "os/process.h"
#include "os/time_limit.h"
#include "report.h"
#include "wire/printable.h"

namespace ipcm::launcher {

namespace {

/// The time for the process of a peer to end after the peer has left the bus.
constexpr auto kEndingTime = std::chrono::seconds(1);

/// A peer that has left, as `ipcm wait --for gone` prints it.
struct Gone {
  std::string name;
  bool ended = false;                 ///< Whether its process is known to have ended.
  std::optional<ExitStatus> status;   ///< Of its process, if it is known.
  std::string sentence = "has left";  ///< For people.

  void save(JsonWriter& archive) const {
    archive(cereal::make_nvp("name", foreign_text(name)), cereal::make_nvp("ended", ended));
    if (!status) return;
    const bool exited = status->how == ExitStatus::How::exited;
    archive(cereal::make_nvp(exited ? "status" : "signal", status->value));
  }
};

Gone await_gone(bus::Member& member, const std::string& name) {
  Gone gone{name, false, {}};
  const auto found = member.transport().identify(name);
  if (!member.await_gone(name, os::TimeLimit::current()))
    throw Timeout("'" + wire::printable_name(name) + "' is still on the bus");
  if (!found.process || !os::await_end(found.process.get(), os::limited(kEndingTime))) return gone;
  gone.ended = true;
  gone.status = os::peek_exit_status(found.process.get());
  gone.sentence = os::how_it_ended(found.process.get(), gone.status);
  return gone;
}

}  // namespace

int wait(const Options& options) {
  const auto member = visit(options);
  for (const std::string& name : options.words) {
    if (options.awaited == Options::Awaited::gone) {
      const Gone gone = await_gone(*member, name);
      if (options.json)
        print_json(json_of(gone));
      else
        print_line("'" + wire::printable_name(name) + "' " + gone.sentence);
    } else if (!member->await_active(name, os::TimeLimit::current())) {
      throw Timeout("'" + wire::printable_name(name) + "' is not ready");
    }
  }
  return number(Status::done);
}

}  // namespace ipcm::launcher
