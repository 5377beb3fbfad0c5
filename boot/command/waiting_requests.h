#pragma once

#include <cstddef>
#include <deque>

#include "ipcm/service.h"

namespace ipcm::command {

/// The requests for which no program is free. Bounded in number and in bytes.
class WaitingRequests {
 public:
  explicit WaitingRequests(std::size_t most) : most_(most) {}
  /// Moves the request out of `request`. Returns false, and leaves it as it is, if there is no room.
  [[nodiscard]] bool put(Request& request);
  [[nodiscard]] bool empty() const { return requests_.empty(); }
  [[nodiscard]] Request take();
  /// Returns the text of the error for a request without room.
  [[nodiscard]] std::string refusal() const;

 private:
  std::deque<Request> requests_;
  std::size_t most_, bytes_ = 0;
};

}  // namespace ipcm::command
