#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ipcm/ipcm.h"

namespace ipcm::launcher {

/// What the command line said, as plain data: only options.cc knows the parser.
struct Options {
  // For all commands.
  std::string bus;  ///< info string or route; from $IPCM_INFO if not given
  bool json = false;
  bool verbose = false;
  std::optional<Duration> timeout;

  std::string command;             ///< "run", "bus new", …
  std::string class_name;          ///< run, start
  std::string name;                ///< start: of the service; request, send: of the peer
  std::string args;                ///< JSON
  std::string boot;                ///< path of the boot binary
  std::vector<std::string> words;  ///< requests, messages, names, a command: what the verb takes
  Redirect redirect;
  bool secret = false;
  std::string protocol;    ///< of a bus that is to be made
  std::string serializer;  ///< a name, or the array form with options
  std::string route;       ///< of a store that is there already
  std::string user;        ///< on a database server
  bool no_wait = false;
  bool follow = false;               ///< logs
  std::optional<std::size_t> lines;  ///< logs: so many, the last; all if not given
  bool all = false;

  /// Throws UsageError if no bus is given.
  [[nodiscard]] BusInfo bus_info() const;
  /// How a bus is to be made. Throws UsageError.
  [[nodiscard]] SpawnOptions spawn_options() const;
  [[nodiscard]] Duration limit(Duration otherwise) const { return timeout.value_or(otherwise); }
  /// The boot binary to run: what was said, else the one that belongs to this executable.
  [[nodiscard]] std::string boot_path() const;
};

/// nullopt: all was said and done (help, version, a wrong word); `status` is what to exit with.
[[nodiscard]] std::optional<Options> read_options(int argc, char** argv, int& status);

/// From JSON text on the command line. Throws UsageError that says which text it was. `line`: what to call
/// its first line, where it is one of many.
[[nodiscard]] Content json_from(const std::string& text, const std::string& what, std::size_t line = 1);

}  // namespace ipcm::launcher
