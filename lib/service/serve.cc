#include "service/serve.h"

#include "ipcm/error.h"
#include "os/process.h"
#include "os/signals.h"
#include "service/diagnostic.h"
#include "service/service_runtime.h"
#include "wire/printable.h"

namespace ipcm::service {
namespace {

struct StartFailure {
  Exit status;
  std::string words;
};

/// Describes the current exception, for the launcher and as an exit status. `doing`: the step that threw it.
StartFailure describe_exception(const std::string& doing) {
  try {
    throw;
  } catch (const BusError& error) {
    return {Exit::bus_unavailable, error.what()};
  } catch (const ProtocolError& error) {
    return {Exit::usage, error.what()};
  } catch (const UsageError& error) {
    return {Exit::usage, error.what()};
  } catch (const SystemError& error) {
    return {Exit::system_error, doing + ": " + error.what()};
  } catch (const std::exception& error) {
    return {Exit::service_threw, doing + ": " + error.what()};
  } catch (...) {
    return {Exit::service_threw, doing + ": an error of an unknown type"};
  }
}

int status_of(Exit exit) { return static_cast<int>(exit); }

}  // namespace

int serve(ServiceSetup setup, ready::Announcer announcer,
          const std::function<std::unique_ptr<Service>(ServiceSetup)>& make) noexcept {
  const std::string name = setup.name();
  os::take_charge_of_signals();
  os::set_process_title(name);
  announcer.use_notify_socket();
  std::unique_ptr<Service> service;
  const char* doing = "making the service";
  try {
    service = make(std::move(setup));
    doing = "joining the bus";
    service->runtime().join();
    doing = "on_start";
    service->runtime().start();
    if (!announcer.ready(name)) {
      std::fprintf(stderr, "ipcm: service '%s': its launcher ended before it was ready; it leaves\n",
                   name.c_str());
      service->runtime().leave();
      return status_of(Exit::system_error);
    }
    service->runtime().keep_log(announcer.give_log().log);
  } catch (...) {
    StartFailure failure = describe_exception(doing);
    // A class that throws in on_start threw, whatever type it chose.
    const bool joined = std::string_view(doing) == "on_start";
    if (joined) failure.status = Exit::service_threw;
    announcer.failed(failure.words, joined);
    complain(name, failure.words);
    if (joined) service->runtime().keep_failure(status_of(failure.status));
    return status_of(failure.status);
  }
  int status = 0;
  const auto report = [&] {
    const StartFailure failure = describe_exception("a callback threw");
    complain_about("service '" + wire::printable_name(name) + "' ends", failure.words);
    status = status_of(Exit::service_threw);
  };
  try {
    status = service->runtime().run(announcer);
  } catch (...) {
    report();
  }
  announcer.stopping();
  service->runtime().keep_failure(status);
  try {
    service->runtime().leave();
  } catch (...) {
    report();
    service->runtime().keep_failure(status);
  }
  return status;
}

int run_here(Service& service) {
  os::take_charge_of_signals();
  ready::Announcer announcer;
  announcer.use_notify_socket();
  ServiceRuntime& runtime = service.runtime();
  runtime.join();
  int status = 0;
  try {
    runtime.start();
    (void)announcer.ready(service.name());
    status = runtime.run(announcer);
  } catch (...) {
    announcer.stopping();
    runtime.leave();
    throw;
  }
  announcer.stopping();
  runtime.leave();
  return status;
}

}  // namespace ipcm::service
