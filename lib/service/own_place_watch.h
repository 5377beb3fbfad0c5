#pragma once

#include <functional>
#include <string>

#include "loop/recovery.h"
#include "os/clock.h"
#include "transport/transport.h"

namespace ipcm::service {

/// Notices that the bus, or the service's endpoint on it, was removed (Transport::watch_own_place()).
class OwnPlaceWatch {
 public:
  /// Both are called inside the loop: `complain` with the reason why it can't watch, `wake` when it is time to
  /// call process() again.
  OwnPlaceWatch(Loop& loop, std::function<void(const std::string& why)> complain, std::function<void()> wake)
      : recovery_(loop, std::move(complain), std::move(wake)) {}

  /// Called in each turn. A service that `stands_alone` lets the kernel watch: otherwise it would stay on a
  /// removed bus for ever. One that ends with another process does not: the watches of a user are few, and to
  /// end one can take longer than a short life. It looks by itself, at most once a second and only when an
  /// event has woken it.
  void process(transport::Transport& transport, bool stands_alone);

 private:
  enum class State { unknown, noted, watched };
  State state_ = State::unknown;
  os::Clock::time_point next_look_{};
  Recovery recovery_;
};

}  // namespace ipcm::service
