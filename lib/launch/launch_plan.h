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
#include "os/descriptor.h"
#include "ready/ready.h"

namespace ipcm::launch {

// What is to be started, and how.

/// What a child gets from its launcher, on the child's side of a fork.
struct ChildSide {
  ready::Announcer announcer;
  os::UniqueFd leash;
  handoff::OriginalStreams original;
};

struct LaunchPlan {
  std::string name;   ///< of the service, for messages
  bool leash = true;  ///< hand it a pidfd of this process
  bool capture_stderr = true;
  bool new_session = false;
  Redirect redirect;
  std::string log;  ///< Path of a log for stdout and stderr, where they are not redirected; empty: none.
  /// Descriptors of ours that the child gets as its original streams, where it is redirected; borrowed, -1:
  /// none.
  std::array<int, 3> original = {-1, -1, -1};
  std::function<void()> post_fork;  ///< present: a plain fork, also for exec

  // Either a program …
  std::string program;  ///< Path. Empty: fork.
  std::vector<std::string> args;
  std::map<std::string, std::string> env;
  std::string directory;
  std::string parameters;  ///< The JSON document.
  bool secret = false;
  bool parameters_come_whole = false;  ///< Through a pipe that holds all of them, and then is closed.
  WarmPool warm;                       ///< Whose processes may be taken instead of a new one.
  // … or what the forked child does. Its result is the exit status.
  std::function<int(ChildSide)> body;

  /// What the bus tells of the service.
  struct Presence {
    bool joined = false;   ///< it has, or had, a place there
    bool present = false;  ///< and its process lives
    Pid pid = 0;           ///< that process; 0: not known
  };
  /// Asked when it says that it is ready, and when the time is up. nullopt: the bus can't be asked yet; then
  /// Launch::look_again() follows.
  std::function<std::optional<Presence>()> on_bus;
  /// Nobody waits for it, so it comes up also if this process ends before. Otherwise it leaves then.
  bool outlives_launcher = false;
};

}  // namespace ipcm::launch
