#pragma once

#include <csignal>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ipcm/ipcm.h"

namespace ipcm::launcher {

struct Options;

/// The program after -- that becomes a service, and its flags; see program_options.h.
struct ProgramOptions {
  bool is_given = false;
  std::vector<std::string> words = {};
  std::string speak = {}, framing = {}, ready = {}, restart = {};  ///< Empty: not given.
  std::optional<std::size_t> jobs = {}, max_output = {};
  bool raw = false;
};

/// The function of a verb. Returns the exit status; throws ipcm::Error.
using Command = int (*)(const Options&);

/// The command line as plain data. Only options.cc and command_line.cc use the parser.
struct Options {
  // Options of all commands.
  std::string bus;  ///< info string or route; empty: $IPCM_INFO
  bool json = false;
  bool verbose = false;
  std::optional<Duration> timeout;

  Command command = nullptr;       ///< The function of the verb.
  bool limits_each_step = false;   ///< Whether `timeout` applies to each step of the verb, not to the whole.
  std::string class_name;          ///< run, start
  std::string name;                ///< start, restart: of the service; request, send: of the peer
  std::string args;                ///< JSON
  std::string boot;                ///< path of the boot binary
  std::vector<std::string> words;  ///< the other words of the verb: requests, messages, names, or a command
  ProgramOptions program;          ///< run, start
  Redirect redirect;
  bool secret = false;
  std::optional<Duration> interval;  ///< run, start: between two calls of on_interval
  Duration spin = Duration::zero();  ///< run, start, request
  bool expose_errors = false;        ///< run, start
  std::string protocol;              ///< of the new bus
  std::string serializer;            ///< a name, or the array form with options
  std::string route;                 ///< of an existing directory or database
  std::string user;                  ///< on a database server
  bool no_wait = false;
  bool follow = false;               ///< logs
  std::optional<std::size_t> lines;  ///< logs: how many of the last lines; nullopt: all
  enum class Awaited { ready, gone };
  Awaited awaited = Awaited::ready;  ///< wait
  bool all = false;
  int signal = SIGTERM;              ///< kill
  bool reply = false;                ///< listen
  std::optional<std::size_t> count;  ///< listen, events: how many lines; nullopt: no limit
  bool ping = false;                 ///< ps
  bool watch = false;                ///< ps
  bool by_lines = false;             ///< request: each line of stdin is a request
  std::optional<std::size_t> jobs;   ///< request: how many lines are asked at the same time
  bool serve = false;                ///< bridge
  bool reconnect = false;            ///< bridge
  std::string as;                    ///< bridge: the name of the client
  bool tells_lengths = false;        ///< bridge: a line before each long one
  std::string fds;                   ///< bridge: the descriptors of the conversation

  /// Returns the name of the service that run and start make.
  [[nodiscard]] const std::string& service_name() const { return name.empty() ? class_name : name; }
  /// Returns the bus of --bus or $IPCM_INFO. Throws UsageError if neither is given or it is no info string,
  /// BusError if there is no bus at the route.
  [[nodiscard]] BusInfo bus_info() const;
  /// Returns the options of a new bus. Throws UsageError.
  [[nodiscard]] SpawnOptions spawn_options() const;
  [[nodiscard]] Duration limit(Duration otherwise) const { return timeout.value_or(otherwise); }
  /// Returns the path of the boot binary: --boot, else $IPCM_BOOT, else the one beside this executable.
  /// Empty: the library searches for it.
  [[nodiscard]] std::string boot_path() const;
};

/// Parses the command line. Returns nullopt if nothing is left to do (help, version, or an error, which it
/// reports); `status` is then the exit status.
[[nodiscard]] std::optional<Options> read_options(int argc, char** argv, int& status);

/// Parses JSON text from the command line or from stdin. Throws UsageError, which begins with `what` and
/// quotes the text. `line`: the number of the text's first line, for the error.
[[nodiscard]] Content json_from(const std::string& text, const std::string& what, std::size_t line = 1);

}  // namespace ipcm::launcher
