#pragma once

#include <map>
#include <string>
#include <string_view>

namespace ipcm {

/// A user of a database server. The password is never printed, and never part of a command line.
struct Credentials {
  std::string user = {};
  std::string password = {};
  friend bool operator==(const Credentials&, const Credentials&) = default;
};

/// Everything that a program needs to join a bus. Its text form is a JSON array of three strings:
/// `["ConnectionUnix","JSON","/run/user/0/ipcm-4711-x7Gh2a"]`.
struct BusInfo {
  std::string protocol;
  std::string serializer;
  std::string route;  ///< The place of the bus: for ConnectionUnix a directory; see docs/bus.md.
  /// The options of the serializer, in the text form `["JSON::Zstd","level",3]`. Numbers are written as
  /// numbers.
  std::map<std::string, std::string> serializer_options = {};
  /// The user on a database server. Never part of the text form. Empty if the server needs none, or if the
  /// user's configuration has it (~/.pgpass, ~/.my.cnf).
  Credentials credentials = {};

  /// Reads the text form. Accepts the long names of the reference too
  /// ("IPC::Manager::Client::ConnectionUnix"), and shortens them. Throws ProtocolError. A protocol that this
  /// build does not have is refused when the bus is joined.
  [[nodiscard]] static BusInfo parse(std::string_view text);
  [[nodiscard]] std::string text() const;

  friend bool operator==(const BusInfo&, const BusInfo&) = default;
};

}  // namespace ipcm
