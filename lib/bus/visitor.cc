#include "bus/visitor.h"

#include "os/process.h"
#include "transport/directory/route_info.h"

namespace ipcm::bus {

std::string visitor_name() { return "ipcm-" + std::to_string(os::own_pid()); }

bool visitors_count(const BusInfo& info) { return !transport::has_route_info(info.route); }

}  // namespace ipcm::bus
