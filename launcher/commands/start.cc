// ipcm start: starts a service on an existing bus. The service ends with the owner of the bus, not with this
// command.

#include <sys/epoll.h>

#include <csignal>

#include "commands/commands.h"
#include "ipcm/buses.h"
#include "ipcm/service_parameters.h"
#include "loop/loop.h"
#include "os/signals.h"
#include "report.h"
#include "stored_start.h"
#include "wire/printable.h"

namespace ipcm::launcher {
namespace {

/// The number that shells add to the number of the signal that ended a command.
constexpr int kSignalled = 128;

/// Returns the owner of the bus: a service that was started from a shell ends with it. Returns nullopt if
/// there is no owner, or if it lives in another pid namespace: its number there may mean another process
/// here. The service then ends only on request.
std::optional<Pid> owner_of(const BusInfo& info) {
  const BusOwner owner = bus_owner(info);
  return owner.state == BusOwner::State::alive ? std::optional<Pid>(owner.pid) : std::nullopt;
}

/// Waits until the service is ready or a signal asks this command to end. Returns that signal, or 0. The
/// start has its own time limit.
int await_ready(Handle& handle, os::SignalReader& signals) {
  Loop loop;
  int interrupted = 0;
  const Watch signals_watch = loop.watch(signals.fd(), EPOLLIN, [&](std::uint32_t) {
    while (const auto receipt = signals.next()) interrupted = receipt->signal;
  });
  const Watch handle_watch = loop.watch(handle.fd(), EPOLLIN, [&](std::uint32_t) { handle.dispatch(); });
  loop.run_until([&] { return interrupted != 0 || handle.ready(); }, os::Deadline::never());
  return interrupted;
}

struct Started {
  const std::string& name;
  Pid pid;
  std::optional<Duration> time_to_ready;  // nullopt: the command did not wait

  void save(JsonWriter& archive) const {
    archive(cereal::make_nvp("name", name), cereal::make_nvp("pid", pid),
            cereal::make_nvp("ready", time_to_ready.has_value()));
    if (!time_to_ready) return;
    const double ms = std::chrono::duration<double, std::milli>(*time_to_ready).count();
    archive(cereal::make_nvp("milliseconds", ms));
  }
};

/// Prints the name of the service, with --json more. Throws OutputLost.
void print_started(const Options& options, const std::string& name, Handle& handle, bool waited) {
  const Pid pid = (waited ? handle.service_pid() : handle.child_pid()).value_or(0);
  if (!options.json) {
    print_line(wire::printable(name));
  } else {
    print_json(
        json_of(Started{name, pid, waited ? std::optional<Duration>(handle.time_to_ready()) : std::nullopt}));
  }
  flush_output();
}

}  // namespace

int start(const Options& options) {
  return start_service(options, options.service_name(), service_options(options));
}

int start_service(const Options& options, const std::string& name, ServiceOptions service) try {
  service.ipcm_info = options.bus_info();
  if (const auto owner = owner_of(*service.ipcm_info))
    service.watch_pids = {*owner};
  else
    service.detached = true;
  // From here on, a signal can't end this command and leave a service behind.
  os::SignalReader signals(os::heeded({SIGINT, SIGTERM, SIGHUP}));
  Handle handle = options.no_wait ? ipcm_service_nowait(name, service) : ipcm_service_begin(name, service);
  // If the start is not finished, the destructor of the handle ends it.
  if (const int interrupted = options.no_wait ? 0 : await_ready(handle, signals); interrupted != 0)
    return kSignalled + interrupted;
  if (!options.no_wait)
    tell(options, "service '" + name + "' is process " + std::to_string(handle.service_pid().value_or(0)) +
                      ", ready after " + readable_milliseconds(handle.time_to_ready()));
  try {
    const Pid pid = (options.no_wait ? handle.child_pid() : handle.service_pid()).value_or(0);
    store_service_parameters(*service.ipcm_info, name, StoredStart::of(service, pid).text());
    print_started(options, name, handle, !options.no_wait);
  } catch (...) {
    handle.end_service();  // the caller did not get its name
    forget_service_parameters(*service.ipcm_info, name);
    throw;
  }
  handle.release();
  return number(Status::done);
} catch (const LaunchError&) {
  (void)visit(options);  // throws if the cause is a missing bus, which has its own exit status
  throw;
}

}  // namespace ipcm::launcher
