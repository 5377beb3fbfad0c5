#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "loop/loop.h"
#include "os/clock.h"
#include "transport/database/registration.h"
#include "transport/database/store.h"

namespace ipcm::database {

/// The time for which a member tries to reconnect after a cut. After that it has lost its place on the bus.
inline constexpr std::chrono::seconds kReturnTime{30};

/// The connection of a member to the store of its bus: up, cut, or ended for good.
///
/// A cut connection is not the end of the bus: the object makes a new one, at once and then at growing
/// intervals, and the member registers again if the bus and its own registration are still the same. The
/// connection has ended if they are not, or if kReturnTime has passed.
class Connection {
 public:
  struct Calls {
    std::function<void()> is_back;  ///< look for changes since the cut
    std::function<void(const std::string& why)> has_ended;
    std::function<void(const std::string& sentence)> tell;
    std::function<bool()> has_place;  ///< returns whether the member has to register again
  };
  /// All must outlive it.
  Connection(Store& store, Registration& registration, Loop& loop, Calls calls)
      : store_(store), registration_(registration), loop_(loop), calls_(std::move(calls)) {}

  [[nodiscard]] bool is_up() const { return state_ == State::up; }
  [[nodiscard]] bool has_ended() const { return state_ == State::ended; }
  /// Returns why the connection is not up.
  [[nodiscard]] const std::string& why() const { return why_; }

  /// Reports that a statement failed because the connection was cut.
  void note_cut(const std::string& why);
  void end(const std::string& why);
  /// Tries to reconnect, for a caller that needs the connection now and does not run the loop, until the
  /// limit of the caller or `longest` has passed; 0: one attempt, if one is due.
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
