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

// Presence beside a bus whose route is one file (a database, a JSON document).
//
// The file itself notes a pid for each peer, as the reference has it; that can't tell a recycled pid, and
// nothing tells of a death. So ours also hold lock files (lock_file.h), in a hidden directory beside the
// route:
//   .FILE.ipcm/            0700; made by the first of ours, removed with the route
//   .FILE.ipcm/.N.lock     held locked while the peer lives; N: its name on disk (disk_name.h)
//   .FILE.ipcm/.owner      held locked while the bus has an owner that will take it down
//   .FILE.ipcm/.info       the mark of a bus that we have made: its info string (standing.h)
//   .FILE.ipcm/.found      the file was there before the bus, "empty" or "used": it stays
//   .FILE.ipcm/.PID-XXXXXX.pin  on a bus that we have not made: held locked while somebody has the directory
//                               open
// Each death shows as an inotify event IN_CLOSE_WRITE of that directory: watch directory().short_path(".").
// Peers of the reference do not know of it, and an owner of theirs removes the route alone. So the last of
// ours that leaves a bus of theirs removes the directory: when it is empty, which it never is on a bus of
// ours (bus_note.h).

class Sidecar {
 public:
  /// Of the bus at that path; made if need be. Throws BusError where there is no such file, or where somebody
  /// else has put something at its place.
  explicit Sidecar(const std::string& route);
  Sidecar(const Sidecar&) = delete;
  Sidecar& operator=(const Sidecar&) = delete;
  ~Sidecar();

  [[nodiscard]] const os::Directory& directory() const { return directory_; }
  [[nodiscard]] static std::string path_of(const std::string& route);
  /// Whether what happened to a file of that name may be a peer's coming or going.
  [[nodiscard]] static bool is_news(std::string_view file);
  /// What we have put into it, and itself.
  static Removal remove(const std::string& route) noexcept;
  /// Whether the bus at that path has our mark.
  [[nodiscard]] static bool has_mark(const std::string& route);

  /// The lock of a name, which a live process of ours has if this is nullopt. What the store has noted under
  /// that name is looked at by the caller, once he has the lock: see is_leftover().
  [[nodiscard]] std::optional<HeldLock> take(const std::string& peer, const std::string& note,
                                             HeldLock::Attempt& attempt) const;
  /// A peer that the store knows, by the pid it has noted (none: it has suspended) and until when it is
  /// waited for. `process`, if given, is set to its process, if it holds its lock.
  [[nodiscard]] PeerFacts judge(const std::string& peer, std::optional<Pid> noted,
                                std::optional<double> expires = {}, os::UniqueFd* process = nullptr) const;
  /// Of a peer that holds no lock, by nothing but the pid that it has noted.
  static void judge_by_number(Pid noted, PeerFacts& facts);
  /// Whether the peer that has noted that pid in the store is proven dead; for the process that has just got
  /// the lock of its name.
  [[nodiscard]] static bool is_leftover(Pid noted, const HeldLock::Attempt& attempt);
  /// A pidfd of the process that holds the lock of that name; empty: see look_at_lock().
  [[nodiscard]] os::UniqueFd process_of(const std::string& peer) const;
  /// Whether a peer holds a lock, so that its death will show in the directory.
  [[nodiscard]] bool holds_lock(const std::string& peer) const;

  /// Leaving is next: takes our pin away. Whether nobody else of ours is there then, nothing is noted, and
  /// there is no other file than this; false on a bus of ours, and in a forked child.
  bool drop_pin(const std::string& but_for);

  /// Lets a name go. If the route is gone, and nobody else is here, the directory goes too.
  void release(HeldLock& lock) const noexcept;
  /// The route was removed, or the owner of the bus is dead.
  [[nodiscard]] bool is_orphaned() const;

  [[nodiscard]] static std::unique_ptr<Ownership> own(const std::string& route);
  [[nodiscard]] static OwnerFacts owner(const std::string& route);

  /// The lock file of a peer, in the directory.
  [[nodiscard]] std::string lock_of(const std::string& peer) const;

 private:
  std::string route_;
  std::string pin_;    // before directory_, whose making names it; empty: none is needed
  HeldLock pin_lock_;  // the same
  os::Directory directory_;
  DiskNames names_;
  bool is_pinned_;
  std::uint32_t born_in_;
};

/// The part of a Protocol that is the same for all routes that are one file: `ipcm-PID-XXXXXX` + suffix in
/// the runtime directory, mode 0600, with its sidecar.
class FileProtocol : public Protocol {
 public:
  [[nodiscard]] std::string make_route(const SpawnOptions& options) const final;
  Removal remove_route(const BusInfo& info, Living living) const noexcept override;
  [[nodiscard]] bool remove_unfinished(const std::string& directory, const std::string& file) const final;
  [[nodiscard]] std::unique_ptr<Ownership> own(const BusInfo& info) const final;
  [[nodiscard]] OwnerFacts owner(const BusInfo& info) const final;

 protected:
  /// ".sqlite"
  [[nodiscard]] virtual const char* suffix() const = 0;
  /// Puts into a new, empty file what a bus starts with; also into one that the user named, where it has to
  /// leave alone what is there. Throws BusError for a file that is something else.
  virtual void prepare(const std::string& route) const = 0;
  /// Throws BusError for a file that is no bus: before anything is made beside it.
  void expect_bus(const std::string& route) const;
  /// Whether a file is a bus of the reference, by what is in it. Throws Error where it can't be read.
  [[nodiscard]] virtual bool is_bus_without_mark(const std::string& route) const = 0;
  /// Why a file that is neither a bus nor empty can't be given as a route; empty: it can.
  [[nodiscard]] virtual std::string why_not_given(const std::string& /*route*/) const {
    return "it is neither a bus nor empty";
  }
  /// Takes out of a file that was given what the bus has put into it; `found` tells what it was: "empty", or
  /// "used". Throws Error.
  virtual void empty_route(const std::string& route, std::string_view found) const = 0;
  /// Removes what else the medium may have left beside the file.
  virtual void remove_beside(const std::string& /*route*/) const noexcept {}

 private:
  [[nodiscard]] std::string take_route(const std::string& route) const;
};

}  // namespace ipcm::transport
