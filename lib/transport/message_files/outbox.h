#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "os/directory.h"

namespace ipcm::transport {

/// Whether there is room in somebody's mailbox, seen by one sender. Counting means to list the directory, so
/// it is done once in a while: an unread mailbox may grow over a limit by that for each sender, not without
/// end.
class Outbox {
 public:
  /// Unread messages of one peer.
  static constexpr std::size_t kMostMessages = 100'000;
  static constexpr std::size_t kBetweenCounts = 1000;
  static constexpr std::uint64_t kMostBytes = 256UL * 1024 * 1024;
  static constexpr std::uint64_t kBytesBetweenCounts = 64UL * 1024 * 1024;

  /// Called before each message, with its size. false: it is full.
  bool has_room(const os::Directory& mailbox, std::size_t size);

 private:
  bool has_room_for_one(const os::Directory& mailbox);
  bool has_room_for_bytes(const os::Directory& mailbox);
  std::uint64_t uncounted_bytes_ = 0;  // sent since they were counted
  bool known_ = false;
  std::size_t unchecked_ = 0;  // sends until it is counted again
  double full_at_ = -1;        // the mailbox's time of change when it was full
};

}  // namespace ipcm::transport
