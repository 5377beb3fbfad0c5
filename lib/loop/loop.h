#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <unordered_map>

#include "ipcm/basics.h"
#include "os/clock.h"
#include "os/events.h"

namespace ipcm {

class Loop;

/// A registration with the loop, which ends with this object. After that its callback does not run any more,
/// not even for an event that is already due. It may outlive the loop.
class Watch {
 public:
  Watch() = default;
  Watch(Watch&& other) noexcept;
  Watch& operator=(Watch&& other) noexcept;
  ~Watch() { stop(); }
  void stop() noexcept;
  /// Sets the events from now on (EPOLLIN, EPOLLOUT). 0: none at all, not even a hang-up.
  void want(std::uint32_t events);
  [[nodiscard]] explicit operator bool() const { return id_ != 0; }

 private:
  friend class Loop;
  struct Entry;
  struct State;
  Watch(std::weak_ptr<State> loop, std::uint64_t id) : loop_(std::move(loop)), id_(id) {}
  std::weak_ptr<State> loop_;
  std::uint64_t id_ = 0;
};

/// Waits for descriptors and points in time, and runs their callbacks, on one thread. Level-triggered.
///
/// An object, not a singleton. The kernel stores ids, never pointers, so that a callback may destroy any
/// Watch, its own too. Callbacks only record events and leave the reaction to the code that runs the loop: so
/// a reaction may safely run the loop again.
///
/// Written by hand, and not a library such as libuv or libevent: the loop runs inside hosts with loops of
/// their own (fd() is one descriptor for them), may be nested, survives a fork without touching the parent's
/// epoll set, and makes no system call for the timers of a short run.
class Loop {
 public:
  using Callback = std::function<void(std::uint32_t events)>;

  Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  ~Loop();

  /// Watches a descriptor, which is borrowed and must stay open as long as the Watch. Throws SystemError.
  [[nodiscard]] Watch watch(int fd, std::uint32_t events, Callback callback);
  [[nodiscard]] Watch at(os::Clock::time_point when, std::function<void()> callback);

  /// Waits for an event, then runs all callbacks that are due. Returns false if the deadline came first.
  bool turn(os::Deadline deadline);
  /// Runs turns until `done` returns true; it is called first. Returns false if the deadline came first.
  template <class Done>
  bool run_until(Done&& done, os::Deadline deadline) {
    if (done()) return true;
    do {
      (void)turn(deadline);
      if (done()) return true;
    } while (!deadline.has_passed());  // checked also while events keep coming
    return false;
  }
  /// Handles pending events, without waiting. A busy sender can't keep it running: after kMostTurns turns,
  /// the remaining events leave fd() readable.
  void drain() {
    constexpr int kMostTurns = 64;
    for (int turns = 0; turns < kMostTurns && turn(os::Deadline::passed());) ++turns;
  }
  /// Runs the timers that are due, and checks no descriptor: for long work that must not delay them.
  void run_due_timers();
  /// Lets each turn poll for this long before it sleeps, if the previous turn found an event. 0: never.
  void spin(Duration longest);
  /// Makes fd() readable once: for code that has received a message here which the owner of an outer loop
  /// must handle.
  void nudge();
  /// A descriptor for another loop: readable when a turn would find an event. Borrowed.
  [[nodiscard]] int fd() const;
  /// Returns the number of turns that found an event, and so how often this process woke up.
  [[nodiscard]] std::uint64_t turns() const;

 private:
  [[nodiscard]] std::size_t look_again(std::span<epoll_event> ready, os::Deadline deadline) const;

  std::shared_ptr<Watch::State> state_;
  Watch nudge_;
  Duration spin_ = Duration::zero();
  bool found_ = true;  // an event, in the last turn
};

}  // namespace ipcm
