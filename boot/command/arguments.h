#pragma once

#include <cereal/types/vector.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "command/jsonrpc/framing.h"
#include "command/jsonrpc/greeting.h"
#include "ipcm/content.h"
#include "os/clock.h"
#include "os/spawn.h"

namespace ipcm::command {

/// The parameters of the class `command`, as they stand in JSON; docs/command.md describes them. Empty texts are not given.
struct Arguments {
  std::vector<std::string> argv;
  std::string shell;
  std::map<std::string, std::optional<std::string>> env;  ///< null: the program does not get this variable
  std::string directory;
  std::string speak = "none";
  std::string ready = "started";
  double start_timeout = 60;  ///< seconds until it must be ready
  std::uint64_t jobs = 1;
  double timeout = 60;  ///< seconds for one request
  std::uint64_t max_output = 16UL * 1024 * 1024;
  std::uint64_t queue = 1000;
  std::string restart;
  double grace = 2;  ///< seconds between SIGTERM and SIGKILL
  bool raw = false;
  std::string user, group, umask;
  std::map<std::string, Content> rlimits;
  std::optional<int> nice;
  bool no_new_privs = false;
  std::string framing;
  std::vector<Content> handshake;

  template <class Archive>
  void serialize(Archive& archive) {
    archive(optional("argv", argv), optional("shell", shell), optional("env", env),
            optional("directory", directory), optional("speak", speak), optional("ready", ready),
            optional("start_timeout", start_timeout), optional("jobs", jobs), optional("timeout", timeout),
            optional("max_output", max_output), optional("queue", queue), optional("restart", restart),
            optional("grace", grace), optional("raw", raw), optional("user", user), optional("group", group),
            optional("umask", umask), optional("rlimits", rlimits), optional("nice", nice),
            optional("no_new_privs", no_new_privs));
    archive(optional("framing", framing), optional("handshake", handshake));
  }
};

enum class Speak { none, per_request, lines, jsonrpc };
enum class Restart { never, on_failure, always };

/// The event that makes a program ready.
struct ReadyWhen {
  enum class Kind { started, line, exit, fd, notify, port, exec };
  Kind kind = Kind::started;
  std::string text = {};       ///< line: the regular expression; exec: the shell command
  unsigned number = 0;         ///< fd: the descriptor; port: the port
  Duration period = kNoLimit;  ///< notify: the longest time between two signs of life
};

/// Checked parameters.
struct Plan {
  std::string program_name;  ///< for messages
  os::SpawnRequest spawn;
  Speak speak = Speak::none;
  ReadyWhen ready;
  Restart restart = Restart::never;
  std::size_t jobs = 1;
  Duration timeout = kNoLimit;
  Duration start_timeout = kNoLimit;
  std::size_t max_output = 0;
  std::size_t queue = 0;
  Duration grace{};
  bool raw = false;
  jsonrpc::Framing framing = jsonrpc::Framing::lines;
  std::vector<jsonrpc::Greeting> handshake;
};

/// Checks the parameters, and finds the program. `info`: the text of the bus, which the program gets as IPCM_INFO.
/// Throws UsageError that names the parameter.
[[nodiscard]] Plan make_plan(const Arguments& arguments, const std::string& info);

/// Returns the text "program 'jq'".
[[nodiscard]] std::string naming(const Plan& plan);

}  // namespace ipcm::command
