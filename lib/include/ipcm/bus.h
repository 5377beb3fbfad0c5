#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ipcm/basics.h"

namespace ipcm {

/// All that one needs to join a bus. Its text form is a JSON array of three:
/// `["ConnectionUnix","JSON","/run/user/0/ipcm-4711-x7Gh2a"]`.
struct BusInfo {
  std::string protocol;
  std::string serializer;
  std::string route;  ///< A directory for ConnectionUnix; what it is depends on the protocol.

  /// Reads the text form. The reference's long names ("IPC::Manager::Client::ConnectionUnix") are taken too
  /// and shortened. Throws ProtocolError. Whether this build speaks the protocol shows when the bus is
  /// joined.
  [[nodiscard]] static BusInfo parse(std::string_view text);
  [[nodiscard]] std::string text() const;

  friend bool operator==(const BusInfo&, const BusInfo&) = default;
};

/// How a new bus is made.
struct SpawnOptions {
  /// The first of these that works here is taken.
  std::vector<std::string> protocols = {"ConnectionUnix"};
  std::string serializer = "JSON";
  /// Where the bus's directory is made; empty: $XDG_RUNTIME_DIR, else $TMPDIR, else /tmp.
  std::string parent_directory = {};
  /// Whether the Guard takes the bus down when it goes. Without, the bus stays until Guard::unspawn().
  bool guard = true;
  /// How long peers get to leave politely. After that our own children are sent SIGTERM, then SIGKILL.
  Duration patience = std::chrono::seconds(60);
};

/// Owns a bus, and takes it down: asks all peers to end, waits for them, removes the route.
///
/// A move-only value. Only the process that made it acts: in a forked child it is inert. The destructor is
/// silent and bounded by `patience`; shutdown() does the same and reports. Belongs to one thread at a time.
class Guard {
 public:
  Guard(Guard&&) noexcept;
  Guard& operator=(Guard&&) noexcept;
  ~Guard();

  [[nodiscard]] const BusInfo& info() const;
  /// Takes the bus down now; a second call does nothing. Throws Timeout that names the peers that would not
  /// leave (the route is removed all the same).
  void shutdown();
  /// Removes the route whatever the options said, like shutdown().
  void unspawn();
  /// Leaves the bus in place and forgets it.
  void release();

  // For the library itself.
  struct State;
  [[nodiscard]] static std::unique_ptr<State> take_state(Guard guard);

 private:
  friend Guard ipcm_spawn(const SpawnOptions&);
  explicit Guard(std::unique_ptr<State>);
  std::unique_ptr<State> state_;
};

/// Makes a bus. Throws BusError.
[[nodiscard]] Guard ipcm_spawn(const SpawnOptions& options = {});

/// A protocol or serializer that this build has, and whether it works on this machine.
struct ProtocolDescription {
  std::string name;
  std::string summary;
  bool viable = false;
  std::string why_not;  ///< Empty if it is viable.
};
[[nodiscard]] std::vector<ProtocolDescription> known_protocols();

}  // namespace ipcm
