#pragma once

#include <chrono>

#include "transport/database/store.h"

namespace ipcm::database {

/// How long one statement may wait for somebody else's lock: where somebody waits for the answer; while
/// sending, where a message can wait in our queue instead; inside the loop, where there is always another
/// time. The limit of the caller (os::TimeLimit) may be shorter.
inline constexpr std::chrono::milliseconds kPatient{10'000}, kSending{1'000}, kInLoop{0};

/// While it lives, statements wait so long; after that, as before.
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

/// The same for leaving, which is worth a moment also when the caller's time is up.
class LeavingTimeout {
 public:
  explicit LeavingTimeout(Store& store) : limit_(os::limited(kPatient, kLast)), timeout_(store) {}

 private:
  static constexpr std::chrono::milliseconds kLast{1000};
  os::TimeLimit limit_;
  StatementTimeout timeout_;
};

}  // namespace ipcm::database
