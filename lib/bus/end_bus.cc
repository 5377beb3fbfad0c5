#include "bus/end_bus.h"

#include <optional>
#include <utility>

#include "bus/service_log.h"
#include "bus/take_down.h"
#include "ipcm/buses.h"
#include "os/directory.h"
#include "transport/bus_note.h"
#include "transport/directory/standing.h"
#include "transport/presence/mark_file.h"
#include "transport/protocols.h"

namespace ipcm {
namespace bus {
namespace {

using Is = transport::Standing::Is;

/// nullopt: it is no directory.
std::optional<os::Directory> directory_of(const BusInfo& info) {
  if (os::look_at(info.route).kind != os::FileKind::directory) return std::nullopt;
  os::Directory directory(info.route);
  transport::expect_private(info.route, directory.facts());
  return directory;
}

}  // namespace

Ended end_bus(const BusInfo& info, const SpawnOptions& options, const std::vector<os::Child*>& children,
              IfSomeStay if_some_stay, const std::function<void()>& between) {
  const transport::Protocol& protocol = transport::find_protocol(info.protocol);
  Ended ended;
  // Each round ends the members that joined during the one before.
  constexpr int kRounds = 10;
  for (int round = 0; round < kRounds; ++round) {
    ended.stayed = take_down(info, options, children);
    if (!ended.stayed.empty()) {
      if (if_some_stay == IfSomeStay::keep_unproven && !all_proven(ended.stayed)) return ended;
      break;
    }
    if (between && round == 0) between();
    ended.removal = protocol.remove_route(info, transport::Living::spare);
    if (ended.removal || ended.removal.living.empty()) return ended;
  }
  if (between && !ended.stayed.empty()) between();
  if (if_some_stay == IfSomeStay::remove_bus || !ended.stayed.empty())
    ended.removal = protocol.remove_route(info, transport::Living::ignore);
  return ended;
}

namespace {

/// Continues a removal that was interrupted. A bus of the reference gets our mark first: the files of its peers
/// prove that it is one, and they go with the peers.
Ended end_found_bus(const BusInfo& info, const SpawnOptions& options) {
  if (const auto directory = directory_of(info); directory && !transport::has_mark(*directory)) {
    const transport::Standing standing = transport::standing_of(*directory);
    if (standing.is == Is::closed) {
      // If a peer lives, this opens the mark again.
      Ended ended;
      ended.removal = transport::find_protocol(info.protocol).remove_route(info, transport::Living::spare);
      if (ended.removal || ended.removal.living.empty()) return ended;
    }
    if (standing.is == Is::reference && standing.is_proven) transport::note_route_info(info);
  }
  Ended ended = end_bus(info, options, {}, IfSomeStay::keep_unproven);
  if (ended.removal) remove_logs_elsewhere(info);
  return ended;
}

}  // namespace
}  // namespace bus

EndedBus end_bus(const BusInfo& info, const SpawnOptions& options) {
  bus::Ended ended = bus::end_found_bus(info, options);
  return {std::move(ended.stayed), ended.removal.is_gone, std::move(ended.removal.why),
          std::move(ended.removal.left)};
}

}  // namespace ipcm
