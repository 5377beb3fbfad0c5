#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "os/directory.h"

namespace ipcm::transport {

/// Whether the mailbox of a peer has room, from the view of one sender. Counting means listing the
/// directory, so it happens only now and then: an unread mailbox may exceed its limit by that much for each
/// sender, but not without end.
class Outbox {
 public:
  /// The limit of unread messages of one peer.
  static constexpr std::size_t kMostMessages = 100'000;
  static constexpr std::size_t kBetweenCounts = 1000;
  static constexpr std::uint64_t kMostBytes = 256UL * 1024 * 1024;
  static constexpr std::uint64_t kBytesBetweenCounts = 64UL * 1024 * 1024;

  /// Call before each message, with its size. Returns false if the mailbox is full.
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
