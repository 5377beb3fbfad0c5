#include "service/own_place_watch.h"

namespace ipcm::service {

void OwnPlaceWatch::process(transport::Transport& transport, bool stands_alone) {
  constexpr std::chrono::seconds kPause{1};
  if (state_ == State::watched || recovery_.is_waiting()) return;
  if (state_ == State::unknown && recovery_.attempt([&] { transport.note_own_place(); })) {
    state_ = State::noted;
    next_look_ = os::Clock::now() + kPause;
  }
  if (state_ != State::noted) return;
  if (stands_alone) {
    if (recovery_.attempt([&] { transport.watch_own_place(); }))
      state_ = State::watched;
    else  // too few watches: it looks whenever it tries again
      transport.look_at_own_place();
  } else if (const auto now = os::Clock::now(); now >= next_look_) {
    next_look_ = now + kPause;
    (void)recovery_.attempt([&] { transport.look_at_own_place(); });
  }
}

}  // namespace ipcm::service
