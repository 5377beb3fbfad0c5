#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "bus/member.h"

namespace ipcm::bus {

/// The peers that have joined and left a bus since the last look.
class PeerChanges {
 public:
  /// The member watches its peers from now on. Throws BusError, SystemError.
  explicit PeerChanges(Member& member);

  /// Returns whether take() may have something to return.
  [[nodiscard]] bool has_news() const { return member_.peer_changes() != seen_; }
  /// Returns +1 for each peer that has joined since the last call, and -1 for each that has left. Throws
  /// SystemError if it can't list the peers; the next call then returns these changes, too.
  [[nodiscard]] std::map<std::string, int> take();

 private:
  Member& member_;
  std::set<std::string> known_;
  std::uint64_t seen_;  // Member::peer_changes() at the last look
};

}  // namespace ipcm::bus
