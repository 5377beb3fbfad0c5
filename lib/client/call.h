#pragma once

#include <cstdint>
#include <memory>

#include "client/pending_requests.h"

namespace ipcm::client {

/// A call of a Client, a Handle or another requester, from its beginning to its end.
///
/// A callback may destroy, move or end the object meanwhile: the call keeps alive what it works on, and the
/// member leaves at the end of the call if it was asked to leave inside a callback of its transport. The end
/// also makes fd() readable again if the call has read something that the caller still has to see.
class Call {
 public:
  explicit Call(std::shared_ptr<PendingRequests> requests);
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  [[nodiscard]] PendingRequests& requests() const { return *requests_; }
  bus::Member* operator->() const { return &requests_->member(); }

 private:
  std::shared_ptr<PendingRequests> requests_;
  std::uint64_t incoming_before_, changes_before_;
};

}  // namespace ipcm::client
