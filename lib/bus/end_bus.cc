#include "bus/end_bus.h"

#include "bus/take_down.h"
#include "transport/protocols.h"

namespace ipcm::bus {

Ended end_bus(const BusInfo& info, const SpawnOptions& options, const std::vector<os::Child*>& children,
              IfSomeStay if_some_stay, const std::function<void()>& between) {
  const transport::Protocol& protocol = transport::find_protocol(info.protocol);
  Ended ended;
  // Each round ends those who joined during the one before.
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

}  // namespace ipcm::bus
