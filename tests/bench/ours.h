#pragma once

#include <sys/wait.h>

#include <memory>
#include <stdexcept>
#include <string>

#include "bench/bench.h"
#include "ipcm/ipcm.h"
#include "os/process.h"

namespace ipcm::bench {

/// Returns options for the echo service of the boot binary, by exec, with its own bus unless one is given.
[[nodiscard]] inline ServiceOptions echo_options(const std::string& serializer = "JSON") {
  ServiceOptions options;
  options.class_name = "echo";
  options.exec = Exec{.path = boot_program()};
  options.bus.serializer = serializer;
  return options;
}

[[nodiscard]] inline std::shared_ptr<Handle> start_echo(Placement placement, const std::string& serializer) {
  pin(placement, Side::answers);  // the service inherits it
  auto handle = std::make_shared<Handle>(ipcm_service("echo", echo_options(serializer)));
  pin(placement, Side::asks);
  return handle;
}

/// Ends and reaps the service of a handle: on a bus of another owner, the handle itself leaves it running.
inline void end_service(Handle& handle) {
  const Pid pid = handle.child_pid().value();
  const auto process = os::open_process(pid);
  (void)handle.client().send_message(handle.service_name(), Content::json(R"({"terminate":1})"));
  if (!process || !os::await_end(process->get(), os::Deadline::after(std::chrono::seconds(20))))
    throw std::runtime_error("a service does not end");
  (void)handle.shutdown();
  (void)::waitpid(pid, nullptr, 0);
}

/// Reaps the children of this process that have ended. Their handles have released them.
inline void reap_all() {
  while (::waitpid(-1, nullptr, WNOHANG) > 0) {
  }
}

}  // namespace ipcm::bench
