#include "bus/sanity_check.h"

#include <utility>

#include "bus/member.h"
#include "bus/transient_client.h"

namespace ipcm {

std::string Discrepancy::describe() const {
  const std::string between = " from '" + from + "' to '" + to + "' were ";
  return missing > 0 ? std::to_string(missing) + " messages" + between + "sent and not read"
                     : std::to_string(-missing) + " messages" + between + "read and not counted as sent";
}

namespace bus {

std::vector<Discrepancy> sanity_check(const BusInfo& info) {
  transport::JoinRequest request;
  request.info = info;
  request.name = "spawn";
  request.anonymous = true;
  Member member(request, std::make_shared<Loop>(), Member::Sending::queues);
  std::map<std::pair<std::string, std::string>, std::int64_t> difference;
  const auto counts = member.transport().all_statistics();
  for (const auto& [name, counted] : counts) {
    for (const auto& [to, count] : counted.sent) difference[{name, to}] += static_cast<std::int64_t>(count);
    for (const auto& [from, count] : counted.read)
      difference[{from, name}] -= static_cast<std::int64_t>(count);
  }
  std::vector<Discrepancy> all;
  for (const auto& [pair, missing] : difference) {
    // The owner of a bus says its words to end without having a place there, and counts nothing.
    if (missing == 0 || pair.first == request.name || pair.second == request.name) continue;
    // A sender that was killed, or had no place on the bus, has left no count to compare with.
    if (missing < 0 && !counts.contains(pair.first)) continue;
    if (missing > 0 && !counts.contains(pair.second) && is_transient_client(pair.second)) continue;
    all.push_back({pair.first, pair.second, missing});
  }
  return all;
}

}  // namespace bus
}  // namespace ipcm
