#pragma once

#include <array>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "handoff/handoff.h"
#include "ipcm/launch.h"
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

struct Request {
  std::string name;   ///< of the service, for messages
  bool leash = true;  ///< hand it a pidfd of this process
  bool capture_stderr = true;
  bool new_session = false;
  Redirect redirect;
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

  /// Asked when the time is up: whether it had joined the bus.
  std::function<bool()> on_bus;
};

}  // namespace ipcm::launch
