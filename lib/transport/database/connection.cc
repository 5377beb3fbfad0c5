#include "transport/database/connection.h"

#include <algorithm>

#include "ipcm/error.h"
#include "os/time_limit.h"
#include "transport/database/statement_timeout.h"

namespace ipcm::database {
namespace {

/// The time that one attempt may block the loop.
constexpr std::chrono::milliseconds kAttempt{1000};
constexpr std::chrono::milliseconds kFirstPause{20}, kLongestPause{1000};

}  // namespace

void Connection::note_cut(const std::string& why) {
  if (state_ != State::up) return;
  state_ = State::cut;
  why_ = why;
  give_up_ = os::Deadline::after(kReturnTime);
  pause_ = std::chrono::milliseconds(0);
  calls_.tell("the connection was cut, and is made anew: " + why);
  try_later();
}

void Connection::end(const std::string& why) {
  if (state_ == State::ended) return;
  state_ = State::ended;
  why_ = why;
  again_.stop();
  calls_.has_ended(why);
}

void Connection::try_later() {
  next_ = os::Clock::now() + pause_;
  again_ = loop_.at(next_, [this] { try_again(); });
  pause_ = std::clamp(pause_ * 2, kFirstPause, kLongestPause);
}

void Connection::try_again() {
  again_.stop();
  if (state_ != State::cut) return;
  try {
    const os::TimeLimit limit(os::limited(kAttempt));
    const StatementTimeout timeout(store_, kAttempt);
    store_.reopen();
    if (calls_.has_place()) registration_.take_again();
    state_ = State::up;
  } catch (const StoreError& error) {
    why_ = error.what();
    if (error.bus_is_gone()) {
      end(why_);
    } else if (give_up_.has_passed()) {
      end(why_ + "; it was tried again for " + std::to_string(kReturnTime.count()) + " s");
    } else {
      try_later();
    }
    return;
  } catch (const Error& error) {
    end(error.what());
    return;
  }
  calls_.tell("the connection is there again");
  calls_.is_back();
}

void Connection::await_up(std::chrono::milliseconds longest) {
  if (longest.count() == 0 && os::Clock::now() < next_) return;
  const os::Deadline deadline = os::limited(longest);
  do {
    if (state_ != State::cut) return;
    try_again();
    if (state_ != State::cut) return;
    os::wait_a_moment(pause_, deadline);
  } while (!deadline.has_passed());
}

}  // namespace ipcm::database
