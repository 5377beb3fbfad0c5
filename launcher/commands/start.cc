// ipcm start: a service on a bus that exists. It lives as long as the bus has its owner, not as long as this
// command.

#include "bus/take_down.h"
#include "commands/commands.h"
#include "report.h"
#include "transport/protocols.h"
#include "wire/json_text.h"
#include "wire/printable.h"

namespace ipcm::launcher {
namespace {

/// The process that takes the bus down, if there is one: a service that was started from a shell ends with
/// it. One of another pid namespace has no number here, and its number there is another process: then the
/// service ends when it is told to.
std::optional<Pid> owner_of(const BusInfo& info) {
  const auto owner = transport::find_protocol(info.protocol).owner(info);
  return owner.held && owner.pid > 0 ? std::optional<Pid>(owner.pid) : std::nullopt;
}

void end(const Options& options, Handle& handle) {
  try {
    (void)handle.ready(
        options.limit(std::chrono::seconds(10)));  // without a wait it may not be on the bus yet
  } catch (const LaunchError&) {
    return;  // it has ended by itself
  }
  (void)bus::stop_peers(options.bus_info(), {handle.service_name()}, options.limit(std::chrono::seconds(30)));
}

/// Tells that it was started, and lets go of it. A service of which nobody could be told is ended again: a
/// caller that sees the failure starts another one, and would find the name taken.
void announce(const Options& options, Handle& handle, const std::string& line) {
  try {
    print_json(line);
    flush_output();
  } catch (const OutputLost&) {
    end(options, handle);
    throw;
  }
  handle.release();
}

}  // namespace

int start(const Options& options) try {
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
    announce(options, handle,
             options.json ? R"({"name":)" + wire::json_string(name) + R"(,"pid":)" + std::to_string(pid) +
                                R"(,"ready":false})"
                          : wire::printable(name));
    return number(Status::done);
  }
  Handle handle = ipcm_service(name, service);
  const Pid pid = handle.service_pid().value_or(0);
  const Duration elapsed = handle.time_to_ready();
  tell(options, "service '" + name + "' is process " + std::to_string(pid) + ", ready after " +
                    readable_milliseconds(elapsed));
  if (options.json) {
    const double ms = std::chrono::duration<double, std::milli>(elapsed).count();
    JsonWriter writer;
    writer.open();
    writer(cereal::make_nvp("name", name), cereal::make_nvp("pid", pid), cereal::make_nvp("ready", true),
           cereal::make_nvp("milliseconds", ms));
    writer.close();
    announce(options, handle, writer.take());
  } else {
    announce(options, handle, wire::printable(name));
  }
  return number(Status::done);
} catch (const LaunchError&) {
  (void)visit(options);  // throws if the cause is that there is no such bus: that has a status of its own
  throw;
}

}  // namespace ipcm::launcher
