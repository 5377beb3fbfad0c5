#include "bus/transient_client.h"

#include <algorithm>

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

}  // namespace ipcm::bus
