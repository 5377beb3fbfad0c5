// ipcm start: a service on a bus that exists. It lives as long as the bus has its owner, not as long as this
// command.

#include "commands/commands.h"
#include "report.h"
#include "transport/protocols.h"
#include "wire/json_text.h"

namespace ipcm::launcher {
namespace {

/// The process that takes the bus down, if there is one: a service that was started from a shell ends with
/// it. One of another pid namespace has no number here, and its number there is another process: then the
/// service ends when it is told to.
std::optional<Pid> owner_of(const BusInfo& info) {
  const auto owner = transport::find_protocol(info.protocol).owner(info);
  return owner.held && owner.pid > 0 ? std::optional<Pid>(owner.pid) : std::nullopt;
}

}  // namespace

int start(const Options& options) {
  const std::string name = options.name.empty() ? options.class_name : options.name;
  ServiceOptions service = service_options(options);
  service.ipcm_info = options.bus_info();
  if (const auto owner = owner_of(*service.ipcm_info))
    service.watch_pids = {*owner};
  else
    service.detached = true;
  if (options.no_wait) {
    Handle handle = ipcm_service_nowait(name, service);
    const Pid pid = handle.child_pid().value_or(0);
    handle.release();
    print_line(options.json ? R"({"name":)" + wire::json_string(name) + R"(,"pid":)" + std::to_string(pid) +
                                  R"(,"ready":false})"
                            : name);
    return number(Status::done);
  }
  Handle handle = ipcm_service(name, service);
  const Pid pid = handle.service_pid().value_or(0);
  const Duration elapsed = handle.time_to_ready();
  handle.release();
  tell(options, "service '" + name + "' is process " + std::to_string(pid) + ", ready after " +
                    readable_milliseconds(elapsed));
  if (options.json) {
    const double ms = std::chrono::duration<double, std::milli>(elapsed).count();
    JsonWriter writer;
    writer.open();
    writer(cereal::make_nvp("name", name), cereal::make_nvp("pid", pid), cereal::make_nvp("ready", true),
           cereal::make_nvp("milliseconds", ms));
    writer.close();
    print_line(writer.take());
  } else {
    print_line(name);
  }
  return number(Status::done);
}

}  // namespace ipcm::launcher
