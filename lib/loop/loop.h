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

/// What the loop does for somebody: ends with this object. After that its callback does not run any more, not
/// even for an event that is due already. May outlive the loop.
class Watch {
 public:
  Watch() = default;
  Watch(Watch&& other) noexcept;
  Watch& operator=(Watch&& other) noexcept;
  ~Watch() { stop(); }
  void stop() noexcept;
  /// Which events from now on (EPOLLIN, EPOLLOUT); 0: none at all, not even a hang-up.
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

/// Waits for descriptors and points in time, and runs their callbacks, on one thread.
///
/// An object, not a singleton. The kernel is given ids, never pointers, so that a callback may drop any
/// Watch, its own too. Callbacks note what happened and leave the reaction to whoever runs the loop: that is
/// what makes it safe to run the loop from inside a reaction. Level-triggered.
class Loop {
 public:
  using Callback = std::function<void(std::uint32_t events)>;

  Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  ~Loop();

  /// `fd` is borrowed, and must be open until the Watch has gone.
  [[nodiscard]] Watch watch(int fd, std::uint32_t events, Callback callback);
  [[nodiscard]] Watch at(os::Clock::time_point when, std::function<void()> callback);

  /// Waits until something happens, then runs all callbacks that are due. false: the deadline came first.
  bool turn(os::Deadline deadline);
  /// Takes turns until `done`, which is asked first. false: the deadline came first.
  template <class Done>
  bool run_until(Done&& done, os::Deadline deadline) {
    if (done()) return true;
    do {
      (void)turn(deadline);
      if (done()) return true;
    } while (!deadline.has_passed());  // also while events keep coming
    return false;
  }
  /// Takes what is there, without waiting. Senders that go on and on don't keep it: what is left after so
  /// many turns leaves fd() readable.
  void drain() {
    constexpr int kMostTurns = 64;
    for (int turns = 0; turns < kMostTurns && turn(os::Deadline::passed());) ++turns;
  }
  /// Runs the timers that are due, and looks at no descriptor: for long work that is not to keep them
  /// waiting.
  void run_due_timers();
  /// From now on, after a turn that found something, the next one looks again and again for this long before
  /// it sleeps. 0: never.
  void spin(Duration longest);
  /// Makes fd() readable, once: for who has taken something in here that the owner of an outer loop is to
  /// look at.
  void nudge();
  /// Readable when a turn would find something to do: for somebody else's loop.
  [[nodiscard]] int fd() const;
  /// How many turns found something: how often this process woke up.
  [[nodiscard]] std::uint64_t turns() const;

 private:
  [[nodiscard]] std::size_t look_again(std::span<epoll_event> ready, os::Deadline deadline) const;

  std::shared_ptr<Watch::State> state_;
  Watch nudge_;
  Duration spin_ = Duration::zero();
  bool found_ = true;  // something, in the last turn
};

}  // namespace ipcm
