#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <vector>

#include "ipcm/basics.h"
#include "os/clock.h"

namespace ipcm::supervisor {

/// Whether a child that has ended is started again: always, after a failure, or never.
enum class Policy { permanent, transient, temporary };
/// Which children are started again when one of them is: this one, all, or this one and those after it.
enum class Strategy { one_for_one, one_for_all, rest_for_one };

/// Whether a child with that policy is started again after an end that was a success, or a failure.
[[nodiscard]] bool restarts(Policy policy, bool is_success);

/// Returns a flag for each child: whether it is stopped and started again because the child `failed` is. `order` holds
/// the indices of the children in the order of their start.
[[nodiscard]] std::vector<bool> restarted_with(Strategy strategy, const std::vector<std::size_t>& order,
                                               std::size_t failed);

/// The delays of a child: min(longest, base * 2^n) * (1 ± jitter).
struct Delays {
  Duration base = std::chrono::milliseconds(100), longest = std::chrono::seconds(30);
  double jitter = 0.2;
  Duration reset_after = std::chrono::seconds(10);  ///< n is 0 again after this time of being ready
  friend bool operator==(const Delays&, const Delays&) = default;
};

/// The wait before each restart of one child.
class Backoff {
 public:
  /// `random` returns numbers from 0 (inclusive) to 1.
  Backoff(const Delays& delays, std::function<double()> random)
      : delays_(delays), random_(std::move(random)) {}
  /// Returns the wait before the next start. `ready_for`: how long the child had been ready; zero: it never was.
  [[nodiscard]] Duration next(Duration ready_for);
  void reset() { count_ = 0; }
  /// Uses other delays from now on; n stays.
  void use(const Delays& delays) { delays_ = delays; }
  /// n of the next delay.
  [[nodiscard]] std::uint64_t count() const { return count_; }
  void resume(std::uint64_t count) { count_ = count; }

 private:
  Delays delays_;
  std::function<double()> random_;
  std::uint64_t count_ = 0;
};

/// Counts restarts within a window of time.
class Intensity {
 public:
  Intensity(std::size_t most, Duration period) : most_(most), period_(period) {}
  /// Notes a restart. Returns false if it is one more than the window allows.
  [[nodiscard]] bool allows(os::Clock::time_point now);
  /// Uses other limits from now on, also for the restarts so far.
  void use(std::size_t most, Duration period) {
    most_ = most;
    period_ = period;
  }

 private:
  std::size_t most_;
  Duration period_;
  std::deque<os::Clock::time_point> restarts_;
};

}  // namespace ipcm::supervisor
