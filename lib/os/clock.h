#pragma once

#include <chrono>

#include "ipcm/basics.h"

namespace ipcm::os {

using Clock = std::chrono::steady_clock;

/// Returns `start + span`, or the latest point of the clock if that would overflow.
[[nodiscard]] inline Clock::time_point later_by(Clock::time_point start, Duration span) {
  return span > Clock::time_point::max() - start ? Clock::time_point::max() : start + span;
}
[[nodiscard]] inline Clock::time_point from_now(Duration span) { return later_by(Clock::now(), span); }

/// A point in time at which an operation must end. It is passed down unchanged, so that a limit does not
/// start anew in each layer.
class Deadline {
 public:
  [[nodiscard]] static Deadline never() { return Deadline(Clock::time_point::max()); }
  [[nodiscard]] static Deadline at(Clock::time_point when) { return Deadline(when); }
  [[nodiscard]] static Deadline passed() { return Deadline(Clock::time_point::min()); }
  /// A point `span` from now. Spans that would overflow the clock give never().
  [[nodiscard]] static Deadline after(Duration span) { return Deadline(from_now(span)); }
  /// The meaning of limits in public calls: zero is no limit.
  [[nodiscard]] static Deadline limit(Duration span) { return span == kNoLimit ? never() : after(span); }

  [[nodiscard]] bool is_never() const { return when_ == Clock::time_point::max(); }
  [[nodiscard]] bool has_passed() const { return !is_never() && Clock::now() >= when_; }
  [[nodiscard]] Clock::time_point when() const { return when_; }
  /// Returns milliseconds for poll() and epoll_wait(), or -1 for never(). Rounded up: otherwise a wait would
  /// spin through its last millisecond.
  [[nodiscard]] int poll_timeout() const;

  friend bool operator<(const Deadline& a, const Deadline& b) { return a.when_ < b.when_; }

 private:
  explicit Deadline(Clock::time_point when) : when_(when) {}
  Clock::time_point when_;
};

/// Returns Unix time in seconds, the unit of messages.
[[nodiscard]] double wall_clock_seconds();

}  // namespace ipcm::os
