#pragma once

#include <cstdint>

#include "os/clock.h"

namespace ipcm::os {

/// The time limit of the current call of this thread. Every wait below it, for a lock, a server or a file,
/// ends by then, in every layer: the limit of `sync_request(peer, payload, 2s)` reaches the lock of a file
/// and the answer of a database server without being an argument of every function between.
///
/// Scoped: the constructor sets the limit, and the destructor restores the previous one. The innermost limit
/// counts. A process that is forked inside the scope begins without a limit.
class TimeLimit {
 public:
  explicit TimeLimit(Deadline deadline);
  TimeLimit(const TimeLimit&) = delete;
  TimeLimit& operator=(const TimeLimit&) = delete;
  ~TimeLimit();

  /// Returns the limit of the innermost scope; never() if there is none.
  [[nodiscard]] static Deadline current();

 private:
  Deadline before_;
  std::uint32_t before_generation_;
};

/// Sleeps before another attempt, where nothing can be waited for; not beyond the deadline.
void wait_a_moment(Duration moment, Deadline deadline);

/// Returns the end of a wait of at most `longest`, or earlier if the caller's limit ends first.
[[nodiscard]] Deadline limited(Duration longest);
/// The same, but allows a wait of `shortest` even after the caller's limit: for leaving and clearing up.
[[nodiscard]] Deadline limited(Duration longest, Duration shortest);

}  // namespace ipcm::os
