#include "os/clock.h"

#include <algorithm>
#include <climits>

namespace ipcm::os {

int Deadline::poll_timeout() const {
  if (is_never()) return -1;
  const auto now = Clock::now();
  if (when_ <= now) return 0;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(when_ - now).count();
  return static_cast<int>(std::min<std::int64_t>(left, INT_MAX));
}

double wall_clock_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace ipcm::os
