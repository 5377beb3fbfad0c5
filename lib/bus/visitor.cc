#include "bus/visitor.h"

#include "os/process.h"
#include "transport/directory/route_info.h"

namespace ipcm::bus {

namespace {
constexpr std::string_view kBegin = "ipcm-";
}

std::string visitor_name() { return std::string(kBegin) + std::to_string(os::own_pid()); }

bool is_visitor(std::string_view name) {
  return name.starts_with(kBegin) && name.size() > kBegin.size() &&
         name.find_first_not_of("0123456789", kBegin.size()) == std::string_view::npos;
}

bool visitors_count(const BusInfo& info) { return !transport::has_route_info(info.route); }

}  // namespace ipcm::bus
