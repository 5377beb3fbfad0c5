#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ipcm/basics.h"
#include "os/descriptor.h"
#include "os/directory.h"

namespace ipcm::transport {

// A file in a bus's directory that a process holds a record lock on for as long as it lives: presence that
// can't go stale. The lock ends with the process, even if its children inherited every descriptor; it is not
// fooled by a recycled pid; it works across pid namespaces. And because the holder has the file open for
// writing, its end shows as an inotify event of the directory (IN_CLOSE_WRITE): everybody learns of a death
// without a descriptor for each peer.
//
// Record locks have two traps. They do not exclude the process that holds them, and closing any descriptor of
// the file in that process drops the lock. So this process notes the files that it holds, by device and
// inode, and never opens one of them a second time. One mutex covers looking at a lock, taking one and giving
// one back, for all threads: none of them can open a file that another one is just locking.

/// A lock that this process holds. Releasing it removes the file.
class HeldLock {
 public:
  HeldLock() = default;
  HeldLock(HeldLock&& other) noexcept;
  HeldLock& operator=(HeldLock&& other) noexcept;
  ~HeldLock();

  /// What else an attempt tells.
  struct Attempt {
    Pid holder = 0;     ///< Who has it, if we did not get it; 0: can't be told.
    bool left = false;  ///< The file was there, and nobody held it: its writer died.
    Pid left_by = 0;    ///< That writer; 0: it died before it had written its pid.
  };
  /// The note of who has a lock for a moment only, to clear up after one who died. He locks all but the first
  /// byte, so that it shows from the first moment on what he is at: what stands in the file is the word of
  /// the dead until he has written his own.
  static constexpr const char* kClearing = "(clearing up)";
  static constexpr Duration kPatience = std::chrono::milliseconds(100);
  /// nullopt: a live process has it. `note` is for whoever looks at the lock. Who is clearing up is waited
  /// for, so long at most, unless one wants to clear up oneself: its end shows in the directory. Throws
  /// SystemError.
  [[nodiscard]] static std::optional<HeldLock> acquire(const os::Directory& directory,
                                                       const std::string& file, const std::string& note,
                                                       Attempt& attempt, Duration patience = kPatience);
  /// Takes the place of whoever holds it or held it, without a moment in which nobody does. The one before
  /// still has a lock, on a file that nobody sees any more.
  [[nodiscard]] static HeldLock replace(const os::Directory& directory, const std::string& file,
                                        const std::string& note);
  [[nodiscard]] explicit operator bool() const { return static_cast<bool>(fd_); }
  /// Removes the file, then lets the lock go.
  void release(const os::Directory& directory) noexcept;
  /// Lets the lock go and leaves the file, as the one who died has left it: for who could not clear up after
  /// him. Without it others would have his pid alone, and his process may not quite have ended yet.
  void put_back(Pid left_by) noexcept;

 private:
  static std::optional<HeldLock> try_to_acquire(const os::Directory& directory, const std::string& file,
                                                const std::string& note, Attempt& attempt);
  void let_go() noexcept;
  os::UniqueFd fd_;
  std::string file_;
  std::uint64_t device_ = 0, inode_ = 0;
};

/// What a lock file tells of its holder.
struct LockFacts {
  bool exists = false;
  bool held = false;
  bool by_us = false;  ///< held by this process
  /// If it is held: the holder, as the kernel tells; 0: a process that can't be seen from here, in another
  /// pid namespace. If it is free: as `written_by`.
  Pid pid = 0;
  Pid written_by = 0;  ///< As its writer numbers itself, which may be in another pid namespace; 0: not known.
  std::string note;
  bool for_clearing = false;
  /// Not by the peer of that name, which was found dead.
  [[nodiscard]] bool is_held_for_clearing() const { return held && for_clearing; }
};
/// `process`, if given, is set to a pidfd of the holder, which is proven: the kernel names the same process
/// before and after it was opened. Empty: nobody holds it, or this process, or one that can't be seen here.
[[nodiscard]] LockFacts look_at_lock(const os::Directory& directory, const std::string& file,
                                     os::UniqueFd* process = nullptr);

/// Returns why the directory of a bus cannot be reached through its descriptor, which makes the length of its
/// path irrelevant; empty: it can.
[[nodiscard]] std::string why_no_short_paths() noexcept;

}  // namespace ipcm::transport
