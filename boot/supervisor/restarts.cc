#include "supervisor/restarts.h"

#include <algorithm>
#include <cmath>

namespace ipcm::supervisor {

bool restarts(Policy policy, bool is_success) {
  return policy == Policy::permanent || (policy == Policy::transient && !is_success);
}

std::vector<bool> restarted_with(Strategy strategy, const std::vector<std::size_t>& order,
                                 std::size_t failed) {
  std::vector<bool> flags(order.size(), strategy == Strategy::one_for_all);
  flags[failed] = true;
  if (strategy == Strategy::rest_for_one)
    for (auto at = std::find(order.begin(), order.end(), failed); at != order.end(); ++at) flags[*at] = true;
  return flags;
}

Duration Backoff::next(Duration ready_for) {
  constexpr std::uint64_t kMostDoublings = 62;  // beyond that, a double stays larger than each limit
  if (ready_for > Duration::zero() && ready_for >= delays_.reset_after) count_ = 0;
  const auto doublings = static_cast<int>(std::min(count_++, kMostDoublings));
  const double span = std::min(static_cast<double>(delays_.longest.count()),
                               std::ldexp(static_cast<double>(delays_.base.count()), doublings));
  const double factor = 1 + delays_.jitter * (2 * random_() - 1);
  return Duration(static_cast<Duration::rep>(span * factor));
}

bool Intensity::allows(os::Clock::time_point now) {
  while (!restarts_.empty() && now - restarts_.front() >= period_) restarts_.pop_front();
  if (restarts_.size() >= most_) return false;
  restarts_.push_back(now);
  return true;
}

}  // namespace ipcm::supervisor
