#pragma once

#include <chrono>

#include "transport/database/store.h"

namespace ipcm::database {

/// The time that one statement may wait for a lock of another process: if a caller waits for the answer;
/// while sending, since the message can wait in the queue instead; inside the loop, which can try again
/// later. The limit of the caller (os::TimeLimit) may be shorter.
inline constexpr std::chrono::milliseconds kPatient{10'000}, kSending{1'000}, kInLoop{0};

/// Sets the timeout of statements while it lives; then restores the one before.
class StatementTimeout {
 public:
  explicit StatementTimeout(Store& store, std::chrono::milliseconds limit = kPatient)
      : store_(store), before_(store.patience()) {
    store_.be_patient(os::limited(limit));
  }
  StatementTimeout(const StatementTimeout&) = delete;
  StatementTimeout& operator=(const StatementTimeout&) = delete;
  ~StatementTimeout() { store_.be_patient(before_); }

 private:
  Store& store_;
  os::Deadline before_;
};

/// As StatementTimeout, for leaving: allows a moment even if the time of the caller has run out.
class LeavingTimeout {
 public:
  explicit LeavingTimeout(Store& store) : limit_(os::limited(kPatient, kLast)), timeout_(store) {}

 private:
  static constexpr std::chrono::milliseconds kLast{1000};
  os::TimeLimit limit_;
  StatementTimeout timeout_;
};

}  // namespace ipcm::database
