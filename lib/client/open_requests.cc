#include "client/open_requests.h"

#include <algorithm>
#include <vector>

#include "ipcm/error.h"

namespace ipcm::client {
namespace {

constexpr std::size_t kRemembered = 256;
constexpr std::size_t kRememberedGivenUp = 65536;

}  // namespace

void OpenRequests::remember(std::string id, const char* what) {
  recent_.emplace_back(std::move(id), what);
  if (recent_.size() > kRemembered) recent_.pop_front();
}

const char* OpenRequests::history(const std::string& id) const {
  const auto known =
      std::find_if(recent_.begin(), recent_.end(), [&](const auto& entry) { return entry.first == id; });
  if (known != recent_.end()) return known->second;
  return given_up_.contains(std::hash<std::string>{}(id)) ? "had been given up: the answer came too late"
                                                          : nullptr;
}

OpenRequests::Position OpenRequests::expect(const std::string& id) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) {
    const char* known = history(id);
    throw UsageError("request " + id +
                     (known == nullptr ? " was never made here" : std::string(" ") + known));
  }
  if (found->second.callback) throw UsageError("request " + id + " has a callback, which gets its response");
  return found;
}

void OpenRequests::erase(const std::string& id) {
  ++changes_;
  entries_.erase(id);
}

void OpenRequests::give_up(const std::string& id) {
  erase(id);
  if (given_up_.size() >= kRememberedGivenUp) given_up_.clear();
  given_up_.insert(std::hash<std::string>{}(id));
}

void OpenRequests::answer(const std::string& id, Response response) {
  if (const auto found = entries_.find(id); found != entries_.end()) answer(found, std::move(response));
}

void OpenRequests::answer(Position request, Response&& response) {
  ++changes_;
  if (request->second.callback) {
    due_.emplace_back(std::move(request->second.callback), std::move(response));
    remember(std::move(entries_.extract(request).key()), "was answered already");
  } else {
    request->second.response = std::move(response);
  }
}

void OpenRequests::fail_if(const std::function<bool(const Entry& entry)>& fails, const std::string& peer,
                           const std::exception_ptr& why) {
  std::vector<std::string> ids;
  for (const auto& [id, entry] : entries_)
    if (entry.peer == peer && !entry.response && fails(entry)) ids.push_back(id);
  for (const std::string& id : ids) answer(id, Response(id, peer, why));
}

void OpenRequests::fail(const std::string& peer, const std::exception_ptr& why, std::uint64_t sent_before) {
  fail_if([&](const Entry& entry) { return entry.sent_at < sent_before; }, peer, why);
}

Response OpenRequests::fetch(Position request) {
  ++changes_;
  Response response = std::move(*request->second.response);
  remember(std::move(entries_.extract(request).key()),
           "was answered, and its response was handed out already");
  return response;
}

bool OpenRequests::asks_any(const std::function<bool(const Entry& entry)>& is_so) const {
  return std::any_of(entries_.begin(), entries_.end(), [&](const auto& item) {
    const Entry& entry = item.second;
    return !entry.response && entry.sent_at != kNotSent && is_so(entry);
  });
}

bool OpenRequests::asks(const std::string& peer) const {
  return asks_any([&](const Entry& entry) { return entry.peer == peer; });
}

bool OpenRequests::have_pending() const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [](const auto& item) { return !item.second.response; });
}

std::set<std::string> OpenRequests::asked_peers() const {
  std::set<std::string> peers;
  for (const auto& [id, entry] : entries_)
    if (!entry.response && entry.sent_at != kNotSent) peers.insert(entry.peer);
  return peers;
}

std::set<std::string> OpenRequests::pending_peers() const {
  std::set<std::string> peers;
  for (const auto& [id, entry] : entries_)
    if (!entry.response) peers.insert(entry.peer);
  return peers;
}

}  // namespace ipcm::client
