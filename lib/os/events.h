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

/// The kernel's set of descriptors to wait for; each is known by a number that the caller chooses.
class EventSet {
 public:
  EventSet();
  void add(int fd, std::uint32_t events, std::uint64_t id);
  void change(int fd, std::uint32_t events, std::uint64_t id);
  void remove(int fd) noexcept;
  /// How many of `into` were filled; 0: the deadline came first, or a signal handler of the host ran.
  [[nodiscard]] std::size_t wait(std::span<epoll_event> into, Deadline deadline) const;
  /// False for what can't be waited for because it never blocks: regular files.
  [[nodiscard]] static bool can_wait_for(int fd);
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  void set(int operation, int fd, std::uint32_t events, std::uint64_t id);

  UniqueFd fd_;
};

/// Becomes readable at a point in time.
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

/// Makes a loop on another thread look: readable from notify() to acknowledge(). notify() may be called from
/// any thread.
class WakeUp {
 public:
  WakeUp();
  void notify() const noexcept;
  void acknowledge() const noexcept;
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

/// Tells of changes in one directory: names that came, went, or were closed after writing.
class DirectoryWatch {
 public:
  enum class Of {
    changes,   ///< all of these
    arrivals,  ///< names that came, made there or moved there
    contents   ///< all of these, and each write to a file there
  };
  /// Throws SystemError; for EMFILE with the kernel setting that limits it.
  explicit DirectoryWatch(const std::string& path, Of what = Of::changes);
  /// Blocks until there is something to read(). false: the deadline came first.
  [[nodiscard]] bool await(Deadline deadline) const;
  /// Calls `tell` for each change that waits; the name is empty when changes were lost and all must be looked
  /// at again.
  void read(const std::function<void(std::string_view name)>& tell);
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

/// Tells that one file was written to, or removed.
class FileWatch {
 public:
  enum class Of {
    closing,  ///< once a writer closes it
    writing   ///< at each write, by whoever keeps it open
  };
  /// Throws SystemError.
  explicit FileWatch(const std::string& path, Of what = Of::closing);
  /// Whether something has happened since the last call.
  [[nodiscard]] bool read();
  /// Blocks until there is something to read(). false: the deadline came first.
  [[nodiscard]] bool await(Deadline deadline) const;
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

}  // namespace ipcm::os
