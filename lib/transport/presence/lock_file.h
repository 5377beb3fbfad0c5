#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ipcm/basics.h"
#include "os/descriptor.h"
#include "os/directory.h"
#include "transport/presence/peer_note.h"

namespace ipcm::transport {

// A lock file: a file in the directory of a bus on which a process holds a record lock for as long as it
// lives. The lock proves presence. It ends with the process, even if children inherited every descriptor; a
// process id that was given to another process does not matter; it works across pid namespaces. The holder
// has the file open for writing, so its end shows as an inotify event of the directory (IN_CLOSE_WRITE):
// every process learns of a death without a descriptor for each peer.
//
// Record locks have two traps. They do not exclude the process that holds them, and closing any descriptor
// of the file in that process drops the lock. So this process keeps a list of the files that it holds, by
// device and inode, and never opens one of them a second time. One mutex covers looking at, taking and
// releasing a lock in all threads: no thread can open a file that another thread is about to lock.

/// A lock that this process holds. Releasing it removes the file.
class HeldLock {
 public:
  HeldLock() = default;
  HeldLock(HeldLock&& other) noexcept;
  HeldLock& operator=(HeldLock&& other) noexcept;
  ~HeldLock();

  /// The further results of an attempt.
  struct Attempt {
    Pid holder = 0;     ///< The holder, if the attempt failed; 0: unknown.
    bool left = false;  ///< The file existed without a holder: its writer died.
    Pid left_by = 0;    ///< That writer; 0: it died before it wrote its process id.
  };
  /// The note of a process that holds a lock only while it removes the leftovers of a dead peer. It locks
  /// all but the first byte, so that its purpose shows at once: until it has written its own note, the file
  /// still holds the note of the dead peer.
  static constexpr const char* kClearing = "(clearing up)";
  static constexpr Duration kPatience = std::chrono::milliseconds(100);
  /// Takes the lock; nullopt: a living process has it. `note` is for other processes that look at the lock.
  /// If another process holds it to remove leftovers, waits for that, at most for `patience`, unless `note`
  /// is kClearing. Throws SystemError.
  [[nodiscard]] static std::optional<HeldLock> acquire(const os::Directory& directory,
                                                       const std::string& file, const PeerNote& note,
                                                       Attempt& attempt, Duration patience = kPatience);
  /// Takes the lock from any present or former holder, with no moment in between in which the lock is free.
  /// The former holder keeps a lock on a file that has no name any more.
  [[nodiscard]] static HeldLock replace(const os::Directory& directory, const std::string& file,
                                        const PeerNote& note);
  [[nodiscard]] explicit operator bool() const { return static_cast<bool>(fd_); }
  /// Removes the file, then releases the lock.
  void release(const os::Directory& directory) noexcept;
  /// Releases the lock and leaves the file with the note of the dead peer, for a process that could not
  /// remove the leftovers. Without the file, other processes would have the process id alone, and that
  /// process may not have ended completely.
  void put_back(Pid left_by) noexcept;

 private:
  static std::optional<HeldLock> try_to_acquire(const os::Directory& directory, const std::string& file,
                                                const PeerNote& note, Attempt& attempt);
  void let_go() noexcept;
  os::UniqueFd fd_;
  std::string file_;
  std::uint64_t device_ = 0, inode_ = 0;
};

/// The state of a lock file.
struct LockFacts {
  bool exists = false;
  bool held = false;
  bool by_us = false;  ///< held by this process
  /// held: the holder, from the kernel; 0: a process in another pid namespace. Otherwise as `written_by`.
  Pid pid = 0;
  Pid written_by = 0;  ///< The process id in the file, perhaps of another pid namespace; 0: unknown.
  PeerNote note;
  double since =
      0;  ///< When the holder wrote its note, Unix seconds; 0: unknown, or this process holds the lock.
  bool for_clearing = false;
  /// Returns whether another process holds it to remove the leftovers of the peer, which is dead.
  [[nodiscard]] bool is_held_for_clearing() const { return held && for_clearing; }
};
/// Looks at a lock file. Sets `process`, if given, to a pidfd of the holder. The pidfd is proven: the
/// kernel names the same holder before and after it was opened. It is empty if the lock is free, or if the
/// holder is this process or in another pid namespace.
[[nodiscard]] LockFacts look_at_lock(const os::Directory& directory, const std::string& file,
                                     os::UniqueFd* process = nullptr);

/// Returns why a directory cannot be reached through its descriptor, for which the length of its path does
/// not matter; empty: it can.
[[nodiscard]] std::string why_no_short_paths() noexcept;

}  // namespace ipcm::transport
