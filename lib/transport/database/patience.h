#pragma once

#include <chrono>

#include "transport/database/store.h"

namespace ipcm::database {

/// How long one statement may wait for somebody else's lock: where somebody waits for the answer; while
/// sending, where a message can wait in our queue instead; inside the loop, where there is always another
/// time.
inline constexpr std::chrono::milliseconds kPatient{10'000}, kSending{100}, kInLoop{0};

/// While it lives, statements wait so long; after that, as inside the loop.
class Patience {
 public:
  explicit Patience(Store& store, std::chrono::milliseconds limit = kPatient) : store_(store) {
    store_.be_patient(limit);
  }
  Patience(const Patience&) = delete;
  Patience& operator=(const Patience&) = delete;
  ~Patience() { store_.be_patient(kInLoop); }

 private:
  Store& store_;
};

}  // namespace ipcm::database
