#pragma once

// Example: starts a service in a child process and on a bus of its own, asks it, and ends both.
//
//     ipcm::ServiceOptions options;
//     options.handle_request = [](ipcm::Service&, const ipcm::Request& request) -> ipcm::Answer {
//       return request.as<int>() * 2;
//     };
//     ipcm::Handle service = ipcm::ipcm_service("doubler", options);
//     const int answer = service.sync_request<int>(21, std::chrono::seconds(5));  // throws ipcm::Timeout
//     service.shutdown();  // the destructor does it, too, but reports no errors
//     return answer;
//
// With `exec`, the service is another program, here one that has the class "counter" (service.h):
//
//     ipcm::Handle counter = ipcm::ipcm_service("c", {.class_name = "counter", .exec = {{.path = "./counter"}}});
//     return counter.sync_request<int>(1);

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ipcm/basics.h"
#include "ipcm/bus.h"
#include "ipcm/content.h"
#include "ipcm/handle.h"
#include "ipcm/redirect.h"
#include "ipcm/service.h"
#include "ipcm/warm_pool.h"

namespace ipcm {

/// The options of a start that executes a boot binary instead of forking.
struct Exec {
  /// The path of the binary. Empty: $IPCM_BOOT, then the `ipcm-boot` that was installed with the library,
  /// then `ipcm-boot` in $PATH. A name without a slash is looked up in $PATH.
  std::string path = {};
  /// Arguments before those of the boot contract, such as {"script.py"} for an interpreter.
  std::vector<std::string> args = {};
  /// Environment variables of the child, in addition to those that it inherits.
  std::map<std::string, std::string> env = {};
  /// The working directory. Empty: the caller's.
  std::string directory = {};
  /// For programs that use ipcm::begin(): begin() serves before the rest of their main() runs.
  bool stay_in_begin = false;
  /// A pool of waiting processes, so that a start needs no exec: WarmPool(4). Default: none.
  WarmPool warm = {};
};

/// The options of ipcm_service(). They name a class, or have callbacks; a start with callbacks can't use
/// exec.
struct ServiceOptions {
  // What to run.
  std::string class_name = {};         ///< The registered name of the class.
  Content args = {};                   ///< The parameters of the class: any value; null: none.
  std::optional<Exec> exec = {};       ///< Set: the start executes a boot binary. Not set: it forks.
  const Registry* registry = nullptr;  ///< The classes for a start by fork. Default: the built-in services.

  // How it runs.
  std::optional<Duration> interval = {};  ///< The time between calls of on_interval.
  /// The time for which the service and the Handle poll after an event, before they sleep. Answers are
  /// faster, and polling uses a processor. Some tens of microseconds are useful; at most 1 s; 0: no polling.
  /// Has no effect in a process that may use only one processor.
  Duration spin = Duration::zero();
  /// Whether the service goes on after an exception in a callback. After one in handle_request it always does.
  bool intercept_errors = false;
  bool expose_error_details = false;  ///< Whether requesters get the text of exceptions.

  // Where and how it starts.
  std::optional<BusInfo> ipcm_info = {};  ///< An existing bus to join.
  /// States that the service gets a new bus. It does without ipcm_info; the two together are an error, and so
  /// is Service::ipcm_service(), which uses the bus of the service.
  bool new_bus = false;
  SpawnOptions bus = {};                        ///< The options of a new bus.
  Duration timeout = std::chrono::seconds(10);  ///< The time until the service must be ready; 0: no limit.
  std::vector<Pid> watch_pids = {};  ///< The service ends when any of these ends. Default: the caller.
  bool detached = false;             ///< Whether the service does not watch the caller, and may outlive it.
  bool new_session = false;          ///< Whether it gets its own session: no terminal, no Ctrl-C.
  bool secret = false;               ///< Whether the parameters are kept out of the process list.
  bool wait = true;                  ///< Whether the call blocks until the service is ready.
  /// Whether the launcher collects the stderr of a starting service. If the start fails, the error has the
  /// text; otherwise the launcher passes the text on. Default: true if `wait` or `log` is set, or if a
  /// service makes the start: then a process reads the text.
  std::optional<bool> capture_stderr = {};
  bool allow_threads = false;  ///< Whether to fork although this process has several threads.
  Redirect redirect = {};
  /// Whether stdout and stderr, if they are not redirected, lead to a log of the service instead of the
  /// caller's streams; `ipcm logs NAME` shows it. The log has mode 0600 and at most 1 MiB, and there is one
  /// older part of at most 1 MiB (docs/boot.md).
  bool log = false;

  // Called around the fork. If post_fork is set, a start always uses fork(2).
  std::function<void()> pre_fork = {};  ///< Called in the caller, before the fork.
  /// Called in the child, after the fork. It may fork again and exit in the first process: to daemonise, or
  /// to put a process between.
  std::function<void()> post_fork = {};

  // Callbacks, for a service without a class.
  std::function<void(Service&)> on_start = {};
  std::function<void(Service&, const Activity&)> on_all = {};
  std::function<void(Service&)> on_interval = {};
  std::function<void(Service&, const Message&)> on_general_message = {};
  std::function<void(Service&, const std::map<std::string, int>&)> on_peer_delta = {};
  std::function<void(Service&, Pid, ExitStatus)> on_pid = {};
  std::map<int, std::function<void(Service&)>> on_sig = {};
  std::function<void(Service&, const Activity&)> on_unhandled = {};
  std::function<bool(Service&)> should_end = {};
  std::function<void(Service&)> on_cleanup = {};
  std::function<Answer(Service&, const Request&)> handle_request = {};
};

/// Starts a service from outside of a service, and waits until it is ready. The service joins the bus of
/// options.ipcm_info; without, it joins a new bus that the Handle owns. The service ends when the calling
/// process ends (unless `detached`).
///
/// Throws UsageError for contradicting options, and BusError if the new bus can't be made. Throws LaunchError if the service does not become ready; then
/// its process has ended and is reaped. With `exec`, the service needs only the memory of the boot binary.
/// Without, the library forks the calling process. It refuses that in a process with several threads (a fork
/// would copy their locks in their current state), unless `allow_threads` is set. In the calling process the
/// library installs no signal handler, does not change the signal mask, starts no thread, and waits only for
/// its own children.
[[nodiscard]] Handle ipcm_service(const std::string& name, const ServiceOptions& options);
/// Starts a service by fork. It has one callback, which is called for every activity.
[[nodiscard]] Handle ipcm_service(const std::string& name,
                                  std::function<void(Service&, const Activity&)> callback);
/// The same with options.
[[nodiscard]] Handle ipcm_service(const std::string& name, ServiceOptions options,
                                  std::function<void(Service&, const Activity&)> callback);
/// As the first function, but returns as soon as the process is made: for event loops. Handle::ready()
/// returns whether the service is ready, and throws LaunchError if the start has failed. The library holds
/// requests until the service is ready.
[[nodiscard]] Handle ipcm_service_begin(const std::string& name, const ServiceOptions& options);
/// As ipcm_service_begin(), but the start goes on if the handle is destroyed before the service is ready.
/// Needs an existing bus (options.ipcm_info).
[[nodiscard]] Handle ipcm_service_nowait(const std::string& name, ServiceOptions options);

}  // namespace ipcm
