#pragma once

#include <array>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "handoff/handoff.h"
#include "ipcm/redirect.h"
#include "ipcm/warm_pool.h"
#include "os/clock.h"
#include "os/descriptor.h"
#include "ready/ready.h"

namespace ipcm::launch {

// The plan of a start.

/// The objects that a forked child gets from its launcher.
struct ChildSide {
  ready::Announcer announcer;
  os::UniqueFd leash;
  handoff::OriginalStreams original;
};

struct LaunchPlan {
  std::string name;                                ///< The name of the service.
  os::Clock::time_point began = os::Clock::now();  ///< The time of the call that starts the service.
  bool leash = true;                               ///< Whether the service gets a pidfd of this process.
  int leash_to = -1;  ///< Borrowed: a pidfd of another process that it gets instead; -1: none.
  bool capture_stderr = true;
  bool new_session = false;
  Redirect redirect;
  std::string log;  ///< The path of a log for stdout and stderr, if they are not redirected; empty: none.
  /// Our descriptors that the child gets as its original streams. Borrowed; -1: none.
  std::array<int, 3> original = {-1, -1, -1};
  std::function<void()> post_fork;  ///< If set, the start uses fork(2), also before an exec.

  // Either a program to execute …
  std::string program;  ///< A path. Empty: the start forks.
  std::vector<std::string> args;
  std::map<std::string, std::string> env;
  std::string directory;
  std::string parameters;  ///< The JSON document.
  bool secret = false;
  bool parameters_come_whole = false;  ///< Whether they come through a pipe that is filled once, then closed.
  WarmPool warm;                       ///< The pool that may have a waiting process.
  // … or a function for the forked child. Its result is the exit status.
  std::function<int(ChildSide)> body;

  /// The state of the service on the bus.
  struct Presence {
    bool joined = false;   ///< whether it has a registration, or left one behind
    bool present = false;  ///< whether its process lives as well
    Pid pid = 0;           ///< that process; 0: not known
  };
  /// Looks for the service on the bus, when it reports ready and when its time is over. nullopt: the launcher
  /// has not joined the bus yet; it calls Launch::look_again() later.
  std::function<std::optional<Presence>()> on_bus;
  /// The end of a service that has failed.
  struct Death {
    Pid pid = 0;
    double started = 0;  ///< Unix seconds.
    std::optional<ExitStatus>
        status;  ///< nullopt: other code has reaped the child, and the kernel does not tell.
  };
  /// Called once, if the service had joined the bus and then ended by itself: by a signal, with a status other than 0, or
  /// without leaving the bus. May be empty. It must not throw.
  std::function<void(const Death& death)> on_death;
  /// Returns the exit status of a child that this process can't reap, and whose status the kernel does not tell. May be
  /// empty. It must not throw.
  std::function<std::optional<ExitStatus>()> known_end;
  /// Whether the service starts also if this process ends before it is ready. Otherwise it ends then.
  bool outlives_launcher = false;
};

}  // namespace ipcm::launch
