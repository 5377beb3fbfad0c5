#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "os/clock.h"
#include "os/descriptor.h"

struct epoll_event;

namespace ipcm::os {

/// An epoll set. The caller chooses a number for each descriptor.
class EventSet {
 public:
  EventSet();
  void add(int fd, std::uint32_t events, std::uint64_t id);
  void change(int fd, std::uint32_t events, std::uint64_t id);
  void remove(int fd) noexcept;
  /// Returns the number of entries filled in `into`; 0: the deadline came first, or a signal handler of the
  /// host ran.
  [[nodiscard]] std::size_t wait(std::span<epoll_event> into, Deadline deadline) const;
  /// Returns false for regular files, which never block and which epoll refuses.
  [[nodiscard]] static bool can_wait_for(int fd);
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  void set(int operation, int fd, std::uint32_t events, std::uint64_t id);

  UniqueFd fd_;
};

/// A descriptor that becomes readable at a point in time (timerfd).
class TimerFd {
 public:
  TimerFd();
  void arm(Clock::time_point when);
  void disarm();
  void acknowledge();
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

/// Wakes a loop on another thread: the descriptor is readable from notify() to acknowledge(). Any thread may
/// call notify().
class WakeUp {
 public:
  WakeUp();
  void notify() const noexcept;
  void acknowledge() const noexcept;
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

/// Reports changes in one directory: names that appeared or disappeared, and files that were closed after
/// writing.
class DirectoryWatch {
 public:
  enum class Of {
    changes,   ///< all changes named above
    arrivals,  ///< new names, made there or moved there
    contents   ///< changes, and each write to a file there
  };
  /// Throws SystemError; for EMFILE its text names the kernel setting with the limit.
  explicit DirectoryWatch(const std::string& path, Of what = Of::changes);
  /// Blocks until read() has something. Returns false if the deadline came first.
  [[nodiscard]] bool await(Deadline deadline) const;
  /// Calls `tell` for each pending change. An empty name means that the kernel dropped changes, and that the
  /// caller must look at all names again.
  void read(const std::function<void(std::string_view name)>& tell);
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

/// Reports that one file was written to or removed.
class FileWatch {
 public:
  enum class Of {
    closing,  ///< once a writer closes it
    writing   ///< at each write, also while the writer keeps it open
  };
  /// Throws SystemError.
  explicit FileWatch(const std::string& path, Of what = Of::closing);
  /// Whether something has happened since the last call.
  [[nodiscard]] bool read();
  /// Blocks until read() has something. Returns false if the deadline came first.
  [[nodiscard]] bool await(Deadline deadline) const;
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

}  // namespace ipcm::os
