#include "bus/transient_client.h"

#include <algorithm>

#include "ipcm/error.h"
#include "os/identity.h"
#include "transport/bus_note.h"

namespace ipcm::bus {

namespace {
constexpr std::string_view kBegin = "ipcm-";
}

std::string transient_client_name() { return os::unique_name(std::string(kBegin)); }

bool is_transient_client(std::string_view name) {
  if (!name.starts_with(kBegin)) return false;
  name.remove_prefix(kBegin.size());
  const auto dash = std::min(name.find('-'), name.size());  // earlier versions had no random part
  const auto is_of = [](std::string_view text, std::string_view letters) {
    return !text.empty() && text.find_first_not_of(letters) == std::string_view::npos;
  };
  constexpr std::string_view kDigits = "0123456789";
  constexpr std::string_view kRandom = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  return is_of(name.substr(0, dash), kDigits) &&
         (dash == name.size() || is_of(name.substr(dash + 1), kRandom));
}

bool transient_clients_count(const BusInfo& info) { return !transport::has_route_info(info.route); }

std::shared_ptr<Member> join_unseen(const BusInfo& info) try {
  transport::JoinRequest request;
  request.info = info;
  request.name = transient_client_name();
  request.anonymous = true;
  auto member = std::make_shared<Member>(request, std::make_shared<Loop>(), Member::Sending::waits);
  member->counts().store(transient_clients_count(info));
  return member;
} catch (const SystemError& error) {
  throw BusError(std::string("the bus can't be used: ") + error.what());
}

}  // namespace ipcm::bus
