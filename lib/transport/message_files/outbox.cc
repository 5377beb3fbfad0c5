#include "transport/message_files/outbox.h"

#include <algorithm>
#include <utility>

#include "transport/message_files/mailbox.h"

namespace ipcm::transport {
namespace {

/// A directory of this size cannot contain so many names that a first message needs a count: a sender of a
/// single message should not have to count.
constexpr std::size_t kSmallDirectory = 12 * Outbox::kMostMessages;

}  // namespace

bool Outbox::has_room(const os::Directory& mailbox, std::size_t size) {
  if (!has_room_for_one(mailbox)) return false;
  uncounted_bytes_ += size;
  return uncounted_bytes_ < kBytesBetweenCounts || has_room_for_bytes(mailbox);
}

bool Outbox::has_room_for_bytes(const os::Directory& mailbox) {
  const double changed = mailbox.facts().modified;
  std::uint64_t bytes = 0;
  for (const std::string& name : mailbox.names()) bytes += mailbox.look(name).size;
  if (bytes >= kMostBytes) {
    full_at_ = changed;
    unchecked_ = 0;  // count again before the next message
    return false;
  }
  uncounted_bytes_ = 0;
  return true;
}

bool Outbox::has_room_for_one(const os::Directory& mailbox) {
  if (unchecked_ > 0) {
    --unchecked_;
    return true;
  }
  const os::FileFacts facts = mailbox.facts();
  if (facts.modified == full_at_) return false;  // nothing was removed since
  if (!std::exchange(known_, true) && facts.size < kSmallDirectory) {
    unchecked_ = kBetweenCounts - 1;
    return true;
  }
  const std::size_t count = mailbox.count_names(Mailbox::kReady);
  if (count >= kMostMessages) {
    full_at_ = facts.modified;
    return false;
  }
  full_at_ = -1;
  unchecked_ = std::min(kBetweenCounts, kMostMessages - count) - 1;
  return true;
}

}  // namespace ipcm::transport
