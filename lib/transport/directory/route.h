#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "os/directory.h"
#include "os/identity.h"
#include "transport/presence/disk_name.h"
#include "transport/presence/entries.h"
#include "transport/presence/lock_file.h"
#include "transport/transport.h"

namespace ipcm::transport {

// A bus that is a directory: the files that its protocols share. N stands for the name of a peer on disk.
//   N            the endpoint, its kind depending on the protocol      made at join, removed at leave
//   N.pid        decimal pid: "can receive now"                        after the endpoint
//   N.name       the real name, if N is hashed
//   N.stats      message counts for each peer, sent and read            at leave and suspend
//   N.resume     messages put back for the next reader                 at requeue, until read
//   N.suspend    until when a suspended peer is expected back           at suspend, until it is back
//   .N.lock      ours only: held locked while the peer lives (lock_file.h)
//   .owner       ours only: held locked while the bus has an owner that will take it down
// The files without a leading dot are as the Perl reference has them.

class Route {
 public:
  struct Traits {
    std::size_t longest_name;     ///< of a peer whose name is its file name
    EndpointKinds endpoints;      ///< the kinds of file that an endpoint can be
    bool keeps_messages = false;  ///< an endpoint may wait for the return of its owner
    /// Returns whether messages wait in an endpoint. Those of a dead peer are kept for its successor: see
    /// list().
    std::function<bool(const os::Directory&, const std::string& disk_name)> has_unread = {};
    /// Asks an endpoint whether a process reads it: the only proof that a peer of another library is dead,
    /// or lives in another pid namespace. Empty: this kind of endpoint does not show it.
    std::function<os::Endpoint(const os::Directory&, const std::string& disk_name)> ask_endpoint = {};
  };
  /// Throws BusError if there is no such directory, it is no bus (standing.h), or others can write to it.
  Route(const std::string& path, Traits traits);

  [[nodiscard]] const os::Directory& directory() const { return directory_; }
  [[nodiscard]] std::string disk_name(const std::string& peer) const { return names_.of(peer); }

  [[nodiscard]] PeerFacts look(const std::string& peer) const { return look_at(names_.of(peer)); }
  /// Returns the facts of a peer, with its process if it holds its lock.
  [[nodiscard]] Transport::Identified identify(const std::string& peer) const;
  /// Returns whether a peer holds its lock: it lives, and belongs to this library.
  [[nodiscard]] bool is_ours(const std::string& peer) const;
  struct Listed {
    std::string name;
    PeerFacts facts;
    bool has_lock = false;  ///< its death will show in the directory
  };
  /// Returns all peers that are not dead, sorted by name. Removes the leftovers of dead ones, unless
  /// messages wait in them, or the caller wants to keep them.
  enum class Leftovers { clear, leave };
  /// Called for each peer that is proven dead, before its leftovers are removed.
  using FoundDead = std::function<void(const std::string& peer, const PeerFacts& facts)>;
  [[nodiscard]] std::vector<Listed> list(Leftovers leftovers = Leftovers::clear,
                                         const FoundDead& found_dead = {});
  /// Removes the leftovers of a killed process, unless another peer has taken the name meanwhile.
  void clear_leftovers(const std::string& disk_name) const;
  /// Returns whether the owner of the bus is dead, or the directory was removed.
  [[nodiscard]] bool is_orphaned() const;

  /// A name on the bus that this process holds.
  struct Registration {
    std::string name;
    std::string disk_name;
    HeldLock lock;
  };
  /// Takes a name. Throws NameTaken. Removes the leftovers of a dead process. The caller then makes the
  /// endpoint and calls announce(). With `reconnect`, takes over the endpoint of a suspended or dead peer
  /// as it is; without, the name of a suspended peer is taken.
  [[nodiscard]] Registration claim(const std::string& name, const PeerNote& note, bool reconnect = false);
  void announce(const Registration& registration) const;
  /// Gives up the name and removes all its files but the statistics. Calls `closing` after writing the
  /// statistics and before removing the endpoint.
  void vacate(Registration& registration, const std::string& statistics,
              const std::function<void()>& closing = {}) const noexcept;

  /// Gives up the name, but leaves the endpoint for a successor.
  void suspend(Registration& registration, const std::string& statistics,
               std::optional<double> expires) const;

  [[nodiscard]] Statistics statistics_of(const std::string& disk_name, const wire::Serializer& how) const;
  /// Returns the counts of all peers that have left, by name.
  [[nodiscard]] std::map<std::string, Statistics> all_statistics(const wire::Serializer& how) const;

 private:
  [[nodiscard]] PeerFacts look_at(const std::string& disk_name, bool* has_lock = nullptr,
                                  os::UniqueFd* process = nullptr) const;
  /// The state of a peer that has noted its process id and holds no lock.
  enum class Foreign { alive, elsewhere, seems_dead, dead };
  [[nodiscard]] Foreign judge_foreign(const std::string& disk_name, Pid noted) const;
  [[nodiscard]] bool is_endpoint(const os::FileFacts& facts) const;
  /// Returns whether the files under a name are leftovers of a dead peer, for the process that has just got
  /// its lock.
  [[nodiscard]] bool is_leftover(const std::string& disk_name, const HeldLock::Attempt& attempt) const;
  /// Returns whether the endpoint is gone; if it stays, so do the other files.
  bool remove_all_of(const std::string& disk_name, bool put_back_too = true) const noexcept;
  /// Removes a file if it belongs to a bus.
  [[nodiscard]] bool remove_known(const std::string& file) const noexcept;
  /// Returns the real name behind a file name; nullopt: its peer is joining or leaving.
  [[nodiscard]] std::optional<std::string> real_name(const std::string& disk_name) const;
  /// Removes the leftovers under a name whose lock the caller holds, or throws NameTaken.
  void make_room(Registration& registration, const HeldLock::Attempt& attempt, bool reconnect) const;
  /// Returns whether the process with that id started after the note was written.
  [[nodiscard]] bool was_given_away(const std::string& disk_name, Pid noted) const;
  /// Returns whether the process id was noted after this process started: by this process.
  [[nodiscard]] bool is_younger_than_us(const std::string& disk_name) const;
  [[nodiscard]] std::optional<double> suspended_until(const std::string& disk_name) const;
  [[nodiscard]] std::optional<Pid> noted_pid(const std::string& disk_name) const;

  bool is_marked_ = false;  // as one of ours; determined when the directory is opened
  os::Directory directory_;
  DiskNames names_;
  Traits traits_;
};

}  // namespace ipcm::transport
