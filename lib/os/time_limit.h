#pragma once

#include <cstdint>

#include "os/clock.h"

namespace ipcm::os {

/// The time limit of the call that this thread is in. Whatever waits below for a lock, a server or a file
/// ends its wait by then, whichever layer it is in: the limit of `sync_request(peer, payload, 2s)` reaches
/// the lock of a file and the answer of a database server without being an argument of every function
/// between.
///
/// Scoped: the limit is set by the constructor, and the one before it is back after the destructor. The
/// innermost limit counts. A process that is forked inside the scope begins without a limit.
class TimeLimit {
 public:
  explicit TimeLimit(Deadline deadline);
  TimeLimit(const TimeLimit&) = delete;
  TimeLimit& operator=(const TimeLimit&) = delete;
  ~TimeLimit();

  /// The limit of the innermost scope; never() outside of all.
  [[nodiscard]] static Deadline current();

 private:
  Deadline before_;
  std::uint32_t before_generation_;
};

/// Sleeps, for what tells nobody when it is worth another attempt; not beyond the deadline.
void wait_a_moment(Duration moment, Deadline deadline);

/// When a wait that would take at most `longest` by itself has to end here: earlier if the caller's limit
/// says so.
[[nodiscard]] Deadline limited(Duration longest);
/// The same, but the wait may take `shortest` also when the caller's time is up: for leaving and clearing up.
[[nodiscard]] Deadline limited(Duration longest, Duration shortest);

}  // namespace ipcm::os
