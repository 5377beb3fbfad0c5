// ipcm wait: waits until peers can receive, or until they have left the bus.

#include "commands/commands.h"
#include "ipcm/peer_info.h"
#include "report.h"
#include "wire/printable.h"

namespace ipcm::launcher {

namespace {

/// A peer that has left, as `ipcm wait --for gone` prints it.
struct Gone {
  const std::string& name;
  const PeerEnd& end;

  void save(JsonWriter& archive) const {
    archive(cereal::make_nvp("name", foreign_text(name)), cereal::make_nvp("ended", end.has_ended));
    if (!end.status) return;
    const bool exited = end.status->how == ExitStatus::How::exited;
    archive(cereal::make_nvp(exited ? "status" : "signal", end.status->value));
  }
};

}  // namespace

int wait(const Options& options) {
  Client client = visit(options);
  for (const std::string& name : options.words) {
    if (options.awaited == Options::Awaited::gone) {
      const auto end = await_peer_gone(client, name, time_left());
      if (!end) throw Timeout("'" + wire::printable_name(name) + "' is still on the bus");
      if (options.json)
        print_json(json_of(Gone{name, *end}));
      else
        print_line("'" + wire::printable_name(name) + "' " + end->description);
    } else if (!client.peer_active(name, time_left())) {
      throw Timeout("'" + wire::printable_name(name) + "' is not ready");
    }
  }
  return number(Status::done);
}

}  // namespace ipcm::launcher
