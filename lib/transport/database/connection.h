#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "loop/loop.h"
#include "os/clock.h"
#include "transport/database/registration.h"
#include "transport/database/store.h"

namespace ipcm::database {

/// For how long a member tries to come back after its connection was cut. Then its place on the bus is lost.
inline constexpr std::chrono::seconds kReturnTime{30};

/// A member's connection to the store of its bus: up, cut, or ended for good.
///
/// A connection that is cut is no end of the bus: a new one is made, at once and then ever more rarely, and
/// the member takes its place again, if the bus and the place are still the ones that it had. It has ended if
/// they are not, or if kReturnTime has passed.
class Connection {
 public:
  struct Calls {
    std::function<void()> is_back;  ///< what happened meanwhile is to be looked at
    std::function<void(const std::string& why)> has_ended;
    std::function<void(const std::string& sentence)> tell;
    std::function<bool()> has_place;  ///< whether the member has a place that it has to take again
  };
  /// All must outlive it.
  Connection(Store& store, Registration& registration, Loop& loop, Calls calls)
      : store_(store), registration_(registration), loop_(loop), calls_(std::move(calls)) {}

  [[nodiscard]] bool is_up() const { return state_ == State::up; }
  [[nodiscard]] bool has_ended() const { return state_ == State::ended; }
  /// Why it is not up.
  [[nodiscard]] const std::string& why() const { return why_; }

  /// A statement failed because of it.
  void note_cut(const std::string& why);
  void end(const std::string& why);
  /// For somebody who needs it now, and does not run the loop: tries again, until the caller's limit or
  /// `longest` has passed; 0: one attempt, if it is time for one.
  void await_up(std::chrono::milliseconds longest);
  void stop() { again_.stop(); }

 private:
  enum class State { up, cut, ended };
  void try_again();
  void try_later();

  Store& store_;
  Registration& registration_;
  Loop& loop_;
  Calls calls_;
  State state_ = State::up;
  std::string why_;
  os::Deadline give_up_ = os::Deadline::never();
  std::chrono::milliseconds pause_{0};
  os::Clock::time_point next_{};  // attempt
  Watch again_;
};

}  // namespace ipcm::database
