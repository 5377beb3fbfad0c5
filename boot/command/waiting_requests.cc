#include "command/waiting_requests.h"

#include <string>
#include <utility>

namespace ipcm::command {
namespace {

constexpr std::size_t kMostBytes = 128UL * 1024 * 1024;

}  // namespace

bool WaitingRequests::put(Request& request) {
  const std::size_t size = request.raw().size();
  if (requests_.size() >= most_ || size > kMostBytes - bytes_) return false;
  bytes_ += size;
  requests_.push_back(std::move(request));
  return true;
}

Request WaitingRequests::take() {
  Request first = std::move(requests_.front());
  requests_.pop_front();
  bytes_ -= first.raw().size();
  return first;
}

std::string WaitingRequests::refusal() const {
  return "the queue is full: " + std::to_string(requests_.size()) + " requests of " + std::to_string(bytes_) +
         " bytes wait for a program; ask again later, or start the service with more jobs or a longer queue";
}

}  // namespace ipcm::command
