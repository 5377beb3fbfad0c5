#include "client/call.h"

#include <utility>

namespace ipcm::client {

Call::Call(std::shared_ptr<PendingRequests> requests)
    : requests_(std::move(requests)),
      incoming_before_(requests_->member().inbox().incoming_count()),
      changes_before_(requests_->member().peer_changes()) {}

Call::~Call() {
  bus::Member& member = requests_->member();
  if (member.is_to_leave() && !member.is_telling()) member.leave_silently();
  if (requests_->is_over() || !member.is_usable()) return;
  const bool has_read = member.inbox().incoming_count() != incoming_before_ ||
                        member.peer_changes() != changes_before_ || requests_->has_callbacks();
  if (!has_read || !requests_->has_work()) return;
  try {
    member.loop().nudge();
  } catch (const std::exception&) {
    // Out of memory or descriptors: the next event wakes the caller.
  }
}

}  // namespace ipcm::client
