#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ipcm/basics.h"

namespace ipcm {

/// A user of a database server. The password is never printed, and never stands on a command line.
struct Credentials {
  std::string user = {};
  std::string password = {};
  friend bool operator==(const Credentials&, const Credentials&) = default;
};

/// All that one needs to join a bus. Its text form is a JSON array of three:
/// `["ConnectionUnix","JSON","/run/user/0/ipcm-4711-x7Gh2a"]`.
struct BusInfo {
  std::string protocol;
  std::string serializer;
  std::string route;  ///< A directory for ConnectionUnix; what it is depends on the protocol.
  /// The serializer's options, in the text form `["JSON::Zstd","level",3]`. Those that are numbers are
  /// written as numbers.
  std::map<std::string, std::string> serializer_options = {};
  /// For routes on a server: who we are there. Never part of the text form; empty where the server does not
  /// ask, or the user's own configuration tells (~/.pgpass, ~/.my.cnf).
  Credentials credentials = {};

  /// Reads the text form. The reference's long names ("IPC::Manager::Client::ConnectionUnix") are taken too
  /// and shortened. Throws ProtocolError. Whether this build speaks the protocol shows when the bus is
  /// joined.
  [[nodiscard]] static BusInfo parse(std::string_view text);
  [[nodiscard]] std::string text() const;

  friend bool operator==(const BusInfo&, const BusInfo&) = default;
};

/// How a new bus is made.
struct SpawnOptions {
  /// The first of these that works here is taken; none: $IPCM_PROTOCOL, else ConnectionUnix.
  std::vector<std::string> protocols = {};
  std::string serializer = "JSON";
  std::map<std::string, std::string> serializer_options = {};
  /// An existing store to use, such as a database that is there already; empty: a new one is made. What was
  /// there before stays when the bus is taken down.
  std::string route = {};
  Credentials credentials = {};
  /// Where the bus's directory is made; empty: $XDG_RUNTIME_DIR, else $TMPDIR, else /tmp.
  std::string parent_directory = {};
  /// Whether the Guard takes the bus down when it goes. Without, the bus stays until Guard::unspawn().
  bool guard = true;
  /// How long peers get to leave politely. After that our own children are sent SIGTERM, then SIGKILL.
  Duration patience = std::chrono::seconds(60);
  /// Services and children of ours that have not gone: after this SIGTERM, and after that time more SIGKILL.
  /// (A service gives its own workers 15 s.)
  Duration polite_time = std::chrono::seconds(5);
  Duration term_time = std::chrono::seconds(20);
  /// A descriptor, borrowed for as long as the bus exists; -1: none. Once it is readable, taking the bus down
  /// is hurried: services and children of ours get SIGTERM at once and SIGKILL half a second later, others no
  /// more time. For a command whose user presses Ctrl-C a second time. It is not read.
  int hurry_fd = -1;
  /// Sent to the processes of all peers before they are told to end; 0: none.
  int signal = 0;
  /// shutdown() checks the statistics once all have left, and throws Error that names the pairs of peers
  /// whose counts differ.
  bool do_sanity_check = false;
};

/// Messages that were sent and not read, or read and not sent, as those tell who have left a bus.
struct Discrepancy {
  std::string from;
  std::string to;
  std::int64_t missing = 0;  ///< Sent less read.
  /// "3 messages from 'a' to 'b' were sent and not read".
  [[nodiscard]] std::string describe() const;
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
  /// Compares what all who have left the bus have counted; peers that are still there have not told yet. The
  /// owner's own words to end are left out. Empty: all that was sent was read.
  [[nodiscard]] std::vector<Discrepancy> sanity_check() const;
  /// Hands the bus over to a process that is detached from this one (a session of its own, no terminal), and
  /// returns that one's pid. It takes the bus down when it gets SIGTERM or SIGINT, or once the last peer has
  /// left that was there. This Guard lets go. Throws SystemError, UsageError.
  [[nodiscard]] Pid cleave();
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
