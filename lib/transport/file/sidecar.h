#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "os/directory.h"
#include "transport/presence/disk_name.h"
#include "transport/presence/lock_file.h"
#include "transport/presence/mark_file.h"
#include "transport/transport.h"

namespace ipcm::transport {

// A sidecar: the hidden directory beside a bus whose route is one file (a database, a JSON document).
//
// The file itself notes a process id for each peer, as the reference does. That note cannot distinguish a
// process id that was given to another process, and shows no death. So peers of this library also hold lock
// files (lock_file.h) in the sidecar:
//   .FILE.ipcm/            0700; made by the first peer of ours, removed with the route
//   .FILE.ipcm/.N.lock     held locked while the peer lives; N: its name on disk (disk_name.h)
//   .FILE.ipcm/.owner      held locked while the bus has an owner that will take it down
//   .FILE.ipcm/.info       the mark of a bus that this library made: its info string (mark_file.h)
//   .FILE.ipcm/.found      the file existed before the bus, "empty" or "used": it stays
//   .FILE.ipcm/.PID-XXXXXX.pin  on a bus of the reference: held locked while a process has the directory open
// Each death shows as an inotify event IN_CLOSE_WRITE of that directory: watch directory().short_path(".").
// Peers of the reference do not know the sidecar, and their owner removes the route alone. So the last peer
// of ours that leaves a bus of the reference removes the sidecar if it is empty, which it never is on a bus
// of ours (bus_note.h).

class Sidecar {
 public:
  /// Opens the sidecar of the bus at that path, and makes it if it is missing. Throws BusError if there is
  /// no such file, or if another user's file or directory has the place of the sidecar.
  explicit Sidecar(const std::string& route);
  Sidecar(const Sidecar&) = delete;
  Sidecar& operator=(const Sidecar&) = delete;
  ~Sidecar();

  [[nodiscard]] const os::Directory& directory() const { return directory_; }
  [[nodiscard]] static std::string path_of(const std::string& route);
  /// Returns whether an event of that file can mean that a peer joined or left.
  [[nodiscard]] static bool is_news(std::string_view file);
  /// Removes the files of this library from the sidecar, and the sidecar itself.
  static Removal remove(const std::string& route) noexcept;
  /// Returns whether the bus at that path has a mark of ours.
  [[nodiscard]] static bool has_mark(const std::string& route);

  /// Takes the lock of a name; nullopt: a living process of ours has it. The caller then looks at the note
  /// of the store under that name: see is_leftover().
  [[nodiscard]] std::optional<HeldLock> take(const std::string& peer, const PeerNote& note,
                                             HeldLock::Attempt& attempt) const;
  /// Returns the state of a peer that the store knows. `noted`: the process id in the store (none: the peer
  /// has suspended). `expires`: the end of its suspension. Sets `process`, if given, to its process if that
  /// holds the lock.
  [[nodiscard]] PeerFacts judge(const std::string& peer, std::optional<Pid> noted,
                                std::optional<double> expires = {}, os::UniqueFd* process = nullptr) const;
  /// Sets the state of a peer without a lock by its process id alone.
  static void judge_by_number(Pid noted, PeerFacts& facts);
  /// Returns whether the peer with that process id in the store is proven dead; for the process that has
  /// just got the lock of its name.
  [[nodiscard]] static bool is_leftover(Pid noted, const HeldLock::Attempt& attempt);
  /// Returns a pidfd of the process that holds the lock of that name; empty: see look_at_lock().
  [[nodiscard]] os::UniqueFd process_of(const std::string& peer) const;
  /// Returns whether a peer holds a lock, so that its death shows in the directory.
  [[nodiscard]] bool holds_lock(const std::string& peer) const;

  /// Removes the pin of this member, which is about to leave. Returns whether no other peer of ours is on
  /// the bus, nothing is noted, and `but_for` is the only file; false on a bus of ours, and in a forked
  /// child.
  bool drop_pin(const std::string& but_for);

  /// Releases a name. Removes the directory if the route is gone and no other peer is on the bus.
  void release(HeldLock& lock) const noexcept;
  /// Returns whether the route was removed, or the owner of the bus is dead.
  [[nodiscard]] bool is_orphaned() const;

  [[nodiscard]] static std::unique_ptr<Ownership> own(const std::string& route);
  [[nodiscard]] static OwnerFacts owner(const std::string& route);

  /// Returns the name of a peer's lock file in the directory.
  [[nodiscard]] std::string lock_of(const std::string& peer) const;

 private:
  std::string route_;
  std::string pin_;    // before directory_, which sets it; empty: no pin is needed
  HeldLock pin_lock_;  // before directory_, which sets it
  os::Directory directory_;
  DiskNames names_;
  bool is_pinned_;
  std::uint32_t born_in_;
};

/// The part of a Protocol that all routes share that are one file: `ipcm-PID-XXXXXX` + suffix() in the
/// runtime directory, mode 0600, with a sidecar.
class FileProtocol : public Protocol {
 public:
  [[nodiscard]] std::string make_route(const SpawnOptions& options) const final;
  Removal remove_route(const BusInfo& info, Living living) const noexcept override;
  [[nodiscard]] bool remove_unfinished(const std::string& directory, const std::string& file) const final;
  [[nodiscard]] std::unique_ptr<Ownership> own(const BusInfo& info) const final;
  [[nodiscard]] OwnerFacts owner(const BusInfo& info) const final;

 protected:
  /// Writes the initial contents of a bus into an empty file; also into a file that the user named, whose
  /// contents it must not change. Throws BusError for a file of another kind.
  virtual void prepare(const std::string& route) const = 0;
  /// Throws BusError for a file that is no bus. Called before anything is made beside it.
  void expect_bus(const std::string& route) const;
  /// Returns whether a file is a bus of the reference, by its contents. Throws Error if it cannot be read.
  [[nodiscard]] virtual bool is_bus_without_mark(const std::string& route) const = 0;
  /// Returns why a file that is neither a bus nor empty cannot be a route; empty: it can.
  [[nodiscard]] virtual std::string why_not_given(const std::string& /*route*/) const {
    return "it is neither a bus nor empty";
  }
  /// Removes the contents of the bus from a file that the user named; `found`: the state of the file before
  /// the bus, "empty" or "used". Throws Error.
  virtual void empty_route(const std::string& route, std::string_view found) const = 0;
  /// Removes further files of the medium beside the file.
  virtual void remove_beside(const std::string& /*route*/) const noexcept {}

 private:
  [[nodiscard]] std::string take_route(const std::string& route) const;
};

}  // namespace ipcm::transport
