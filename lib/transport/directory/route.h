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

// A bus that is a directory; what its protocols share. N stands for a peer's name on disk.
//   N            the endpoint, its kind depending on the protocol      made at join, removed at leave
//   N.pid        decimal pid: "can receive now"                        after the endpoint
//   N.name       the real name, if N is hashed
//   N.stats      how many messages were sent to and read from whom     at leave and suspend
//   N.resume     messages put back for the next reader                 at requeue, until read
//   N.suspend    until when a suspended peer is waited for              at suspend, until it is back
//   .N.lock      ours only: held locked while the peer lives (lock_file.h)
//   .owner       ours only: held locked while the bus has an owner that will take it down
// The files without a leading dot are as the Perl reference has them.

class Route {
 public:
  struct Traits {
    std::size_t longest_name;     ///< of a peer whose name is its name on disk
    EndpointKinds endpoints;      ///< what kinds of file an endpoint can be
    bool keeps_messages = false;  ///< an endpoint may wait for its owner to come back
    /// Whether messages wait in an endpoint. Those of the dead are kept for a successor: see list().
    std::function<bool(const os::Directory&, const std::string& disk_name)> has_unread = {};
    /// Asks an endpoint whether somebody reads it: the only proof that a foreign peer is dead, or lives where
    /// its number means nothing here. Empty: this kind of endpoint does not tell.
    std::function<os::Endpoint(const os::Directory&, const std::string& disk_name)> ask_endpoint = {};
  };
  /// Throws BusError if there is no such directory, it is no bus (standing.h), or others can write to it.
  Route(const std::string& path, Traits traits);

  [[nodiscard]] const os::Directory& directory() const { return directory_; }
  [[nodiscard]] std::string disk_name(const std::string& peer) const { return names_.of(peer); }

  [[nodiscard]] PeerFacts look(const std::string& peer) const { return look_at(names_.of(peer)); }
  /// With its process, if it holds its lock.
  [[nodiscard]] Transport::Identified identify(const std::string& peer) const;
  /// Whether it holds its lock: it lives, and understands what is ours.
  [[nodiscard]] bool is_ours(const std::string& peer) const;
  struct Listed {
    std::string name;
    PeerFacts facts;
    bool has_lock = false;  ///< its death will show in the directory
  };
  /// All that are not dead, sorted by name. Leftovers of dead ones are cleared away, unless messages wait in
  /// them, or the caller wants to leave them to be seen.
  enum class Leftovers { clear, leave };
  [[nodiscard]] std::vector<Listed> list(Leftovers leftovers = Leftovers::clear);
  /// What a process that was killed left behind goes, unless somebody has taken the name meanwhile.
  void clear_leftovers(const std::string& disk_name) const;
  /// The owner of the bus is dead, or the directory was removed.
  [[nodiscard]] bool is_orphaned() const;

  /// A name on the bus, taken for this process.
  struct Registration {
    std::string name;
    std::string disk_name;
    HeldLock lock;
  };
  /// Throws NameTaken. Leftovers of a dead process are cleared away. The endpoint itself is made by the
  /// caller, who then calls announce().
  /// With `reconnect`, an endpoint that nobody sits on, suspended or dead, is taken over as it is; without,
  /// a suspended one is taken.
  [[nodiscard]] Registration claim(const std::string& name, const std::string& note, bool reconnect = false);
  void announce(const Registration& registration) const;
  /// Takes away all of it but the statistics. `closing` is called between the two.
  void vacate(Registration& registration, const std::string& statistics,
              const std::function<void()>& closing = {}) const noexcept;

  /// The endpoint stays, for who comes back.
  void suspend(Registration& registration, const std::string& statistics,
               std::optional<double> expires) const;

  [[nodiscard]] Statistics statistics_of(const std::string& disk_name, const wire::Serializer& how) const;
  /// What all who left have counted, by name.
  [[nodiscard]] std::map<std::string, Statistics> all_statistics(const wire::Serializer& how) const;

 private:
  [[nodiscard]] PeerFacts look_at(const std::string& disk_name, bool* has_lock = nullptr,
                                  os::UniqueFd* process = nullptr) const;
  /// Of a peer that has noted its pid and holds no lock.
  enum class Foreign { alive, elsewhere, seems_dead, dead };
  [[nodiscard]] Foreign judge_foreign(const std::string& disk_name, Pid noted) const;
  [[nodiscard]] bool is_endpoint(const os::FileFacts& facts) const;
  /// What stands under a name, seen by who has just got its lock: left by the dead.
  [[nodiscard]] bool is_leftover(const std::string& disk_name, const HeldLock::Attempt& attempt) const;
  /// Returns whether the endpoint is gone; if it stays, so do the other files.
  bool remove_all_of(const std::string& disk_name, bool put_back_too = true) const noexcept;
  /// What is no file of a bus under that name stays.
  [[nodiscard]] bool remove_known(const std::string& file) const noexcept;
  /// The real name behind a file name; nullopt: somebody who is just coming, or just going.
  [[nodiscard]] std::optional<std::string> real_name(const std::string& disk_name) const;
  /// For who has that lock: clears away what is left under the name, or throws NameTaken.
  void make_room(Registration& registration, const HeldLock::Attempt& attempt, bool reconnect) const;
  /// The process that has that number here began after it was noted.
  [[nodiscard]] bool was_given_away(const std::string& disk_name, Pid noted) const;
  /// Its pid was noted after this process began: by this process.
  [[nodiscard]] bool is_younger_than_us(const std::string& disk_name) const;
  [[nodiscard]] std::optional<double> suspended_until(const std::string& disk_name) const;
  [[nodiscard]] std::optional<Pid> noted_pid(const std::string& disk_name) const;

  bool is_marked_ = false;  // as one of ours; found out when the directory is opened
  os::Directory directory_;
  DiskNames names_;
  Traits traits_;
};

}  // namespace ipcm::transport
