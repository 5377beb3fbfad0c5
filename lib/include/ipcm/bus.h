#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ipcm/basics.h"
#include "ipcm/bus_info.h"
#include "ipcm/spawn_options.h"

namespace ipcm {

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
