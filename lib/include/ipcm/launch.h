#pragma once

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

/// Start the service by executing a boot binary, instead of forking.
struct Exec {
  /// The binary; empty: $IPCM_BOOT, else the `ipcm-boot` that was installed with the library. A name without
  /// a slash is looked up in $PATH.
  std::string path = {};
  /// Arguments before those of the boot contract: for interpreters, say {"script.py"}.
  std::vector<std::string> args = {};
  /// Set in the child's environment, beside what it inherits.
  std::map<std::string, std::string> env = {};
  /// Working directory; empty: the caller's.
  std::string directory = {};
  /// For programs that use ipcm::begin(): serve right there, before the rest of their main().
  bool stay_in_begin = false;
  /// Processes that wait, so that a start needs no exec: WarmPool(4). Default: none.
  WarmPool warm = {};
};

/// What ipcm_service() takes. Either a class name, or callbacks; only the former can be exec'd.
struct ServiceOptions {
  // What to run.
  std::string class_name = {};         ///< Registered name; with `args`, its parameters.
  Content args = {};                   ///< Anything cereal can write; null: none.
  std::optional<Exec> exec = {};       ///< Present: start a boot binary. Absent: fork.
  const Registry* registry = nullptr;  ///< Where a forked class is found; default: the built-in services.

  // How it runs.
  std::optional<Duration> interval = {};  ///< on_interval is called this often.
  /// For the fastest answers, at the price of a processor: the service, and the Handle, look again for this
  /// long before they sleep, whenever something has just come. Some tens of microseconds, a second at most;
  /// 0: not. Without effect where a process may use one processor only.
  Duration spin = Duration::zero();
  bool intercept_errors = false;      ///< An exception in a callback does not end the service.
  bool expose_error_details = false;  ///< Requesters see the text of exceptions.

  // Where and how it starts.
  std::optional<BusInfo> ipcm_info = {};        ///< An existing bus to join.
  bool new_bus = false;                         ///< A bus of its own, also from inside a service.
  SpawnOptions bus = {};                        ///< How a new bus is made.
  Duration timeout = std::chrono::seconds(10);  ///< To be ready in; 0: no limit.
  std::vector<Pid> watch_pids = {};  ///< When any of these ends, the service does. Default: the caller alone.
  bool detached = false;             ///< Watch nobody, outlive the caller.
  bool new_session = false;          ///< In a session of its own: no terminal, no Ctrl-C.
  bool secret = false;               ///< Keep the parameters out of the process list.
  bool wait = true;                  ///< Block until it is ready.
  /// Keep the stderr of a starting service, for the error if it fails; passed on once it is ready. Default:
  /// when somebody is there to read it, that is when the start is waited for, or made inside a service.
  std::optional<bool> capture_stderr = {};
  bool allow_threads = false;  ///< Fork although this process has several threads.
  Redirect redirect = {};
  /// stdout and stderr, where they are not redirected, go to a log of the service's own, mode 0600, instead
  /// of the caller's streams: `ipcm logs NAME` shows it. At most 1 MiB, and 1 MiB of what was before;
  /// docs/boot.md.
  bool log = false;

  // Around the fork. With post_fork a start is always a plain fork.
  std::function<void()> pre_fork = {};  ///< In the caller, before.
  std::function<void()> post_fork =
      {};  ///< In the child, after. May fork again and exit: to daemonise, to interpose.

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

/// Starts a service from outside of one, and waits until it is ready: on a fresh bus that the Handle owns, or
/// on the one that options.ipcm_info names. The service ends when the calling process does (unless
/// `detached`).
///
/// Throws UsageError for contradicting options, LaunchError if the service does not come up; then its process
/// is gone and reaped. With `exec` nothing but the boot binary's own memory is paid for; without, the process
/// is forked, which is refused for a process with several threads (their locks would be copied as they stand)
/// unless `allow_threads`. A guest in the caller's process: no signal handler, no changed mask, no thread, no
/// waiting for foreign children.
[[nodiscard]] Handle ipcm_service(const std::string& name, const ServiceOptions& options);
/// A forked service with one callback, called for every activity.
[[nodiscard]] Handle ipcm_service(const std::string& name,
                                  std::function<void(Service&, const Activity&)> callback);
/// The same with options.
[[nodiscard]] Handle ipcm_service(const std::string& name, ServiceOptions options,
                                  std::function<void(Service&, const Activity&)> callback);
/// Like the first, but returns as soon as the process is made: for event loops. Handle::ready() tells how it
/// goes, and throws the LaunchError; requests are held until then.
[[nodiscard]] Handle ipcm_service_begin(const std::string& name, const ServiceOptions& options);
/// From outside, without waiting, on a bus that exists (options.ipcm_info); Handle::ready() waits.
[[nodiscard]] Handle ipcm_service_nowait(const std::string& name, ServiceOptions options);

}  // namespace ipcm
