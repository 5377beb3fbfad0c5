#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ipcm/basics.h"
#include "ipcm/bus_info.h"
#include "ipcm/spawn_options.h"
#include "ipcm/stop.h"

namespace ipcm {

/// A difference between the counts of two peers that have left a bus: messages that were sent and not read,
/// or read and not counted as sent.
struct Discrepancy {
  std::string from;
  std::string to;
  std::int64_t missing = 0;  ///< The number of messages sent minus the number read.
  /// Returns a text such as "3 messages from 'a' to 'b' were sent and not read".
  [[nodiscard]] std::string describe() const;
};

/// The owner of a bus. It takes the bus down: asks all peers to end, waits for them, and removes the route.
///
/// A move-only value that belongs to one thread at a time. It acts only in the process that made it; in a
/// forked child it does nothing. The destructor takes the bus down without reporting errors, and waits for
/// peers at most as long as SpawnOptions::patience; shutdown() does the same and reports errors.
class Guard {
 public:
  Guard(Guard&&) noexcept;
  Guard& operator=(Guard&&) noexcept;
  ~Guard();

  [[nodiscard]] const BusInfo& info() const;
  /// Takes the bus down now: terminate(), wait(), signals for services and children of this process that stay, and
  /// remove(). A second call does nothing. Throws Timeout that names the peers that did not
  /// leave; the route is removed nevertheless. Throws BusError if the route can't be removed, or holds files
  /// that are not part of the bus.
  void shutdown();

  /// The steps of shutdown(), for an owner that has something to do between them. The owner keeps the bus until
  /// remove(); in a forked child, and after the bus was taken down, they throw UsageError.
  ///
  /// Asks all peers to end (`{"terminate":1}`), and sends SpawnOptions::signal before that. Waits for no peer to end;
  /// blocks only while receivers are slow to read, at most 5 s. Can be repeated. Peers of this process are not asked.
  void terminate();
  /// Waits until the peers that are on the bus now have left it, and until those of them that are children of this
  /// process have ended. Returns those that stay when the limit passes. Asks and signals nobody. Does not wait for
  /// clients of this process, nor for suspended peers. A server has 2 s to answer, also if the limit is shorter.
  [[nodiscard]] std::vector<StayedPeer> wait(Duration limit = kNoLimit);
  /// Removes the bus. Throws BusError that names a peer of this library in another process that is still on the bus;
  /// then the bus stays. Clients of this process lose the bus. Otherwise throws as shutdown() does.
  void remove();

  /// Compares the counts of all peers that have left the bus; a peer reports its counts when it leaves. The
  /// messages by which the owner asks peers to end are not counted. Empty: all messages that were sent were
  /// read.
  [[nodiscard]] std::vector<Discrepancy> sanity_check() const;
  /// Transfers the bus to a new process that is detached from this one (its own session, no terminal), and
  /// returns the pid of that process. It takes the bus down when it gets SIGTERM, SIGINT or SIGHUP (unless
  /// the caller ignores that signal), or when the bus has had a peer and the last one has left. After that
  /// this Guard owns nothing. Throws SystemError; UsageError in a process with several threads; Error if the
  /// new process can't own the bus.
  [[nodiscard]] Pid cleave();
  /// Takes the bus down as shutdown() does, also if SpawnOptions::guard is false.
  void unspawn();
  /// Gives up ownership: the bus stays.
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

/// A protocol of this build, and whether it works on this machine.
struct ProtocolDescription {
  std::string name;
  std::string summary;
  bool viable = false;
  std::string why_not;  ///< Empty if it is viable.
};
[[nodiscard]] std::vector<ProtocolDescription> known_protocols();

}  // namespace ipcm
