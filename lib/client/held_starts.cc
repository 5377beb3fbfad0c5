#include "client/held_starts.h"

#include <utility>

namespace ipcm::client {

void HeldStarts::follow(const std::string& peer, launch::Launch& launch, Hold hold,
                        std::vector<Request> waiting) {
  const bool holds = hold == Hold::yes || !waiting.empty();
  starts_.insert_or_assign(peer, Start{&launch, holds, std::move(waiting)});
}

bool HeldStarts::holds(const std::string& peer) const {
  const auto found = starts_.find(peer);
  return found != starts_.end() && found->second.holds;
}

void HeldStarts::add(const std::string& peer, Request request) {
  starts_.at(peer).requests.push_back(std::move(request));
}

std::vector<HeldStarts::Decided> HeldStarts::take_decided() {
  using Verdict = launch::Launch::Verdict;
  std::vector<Decided> decided;
  for (auto& [peer, start] : starts_) {
    if (!start.holds || start.launch->verdict() == Verdict::pending) continue;
    start.holds = false;
    ++decided_;
    decided.push_back({peer,
                       start.launch->verdict() == Verdict::failed
                           ? std::make_exception_ptr(start.launch->error())
                           : nullptr,
                       std::exchange(start.requests, {})});
  }
  return decided;
}

std::vector<HeldStarts::Request> HeldStarts::take_requests(const std::string& peer) {
  const auto found = starts_.find(peer);
  if (found == starts_.end()) return {};
  found->second.holds = false;
  return std::exchange(found->second.requests, {});
}

std::optional<ExitStatus> HeldStarts::status_of(const std::string& peer, Pid pid) const {
  const auto found = starts_.find(peer);
  return found == starts_.end() ? std::nullopt : found->second.launch->status_of(pid);
}

}  // namespace ipcm::client
