#pragma once

#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>
#include <utility>

#include "ipcm/requester.h"

namespace ipcm::client {

/// The requests of one member that have no answer yet, or whose answer nobody has fetched yet, by id.
///
/// Answers are only noted here; run_callbacks() calls the callbacks, so that an answer may come inside the
/// loop. Every change counts (changes()): a position may be invalid after one.
class OpenRequests {
 public:
  /// `sent_at` of a request that waits for the start of its peer. It is larger than all others.
  static constexpr std::uint64_t kNotSent = std::numeric_limits<std::uint64_t>::max();
  struct Entry {
    std::string peer;
    ResponseCallback callback;
    std::optional<Response> response;
    std::uint64_t sent_at = 0;  ///< Member::sent_at() when it was sent
    std::uint64_t link = 0;     ///< Transport::last_link() when it was sent
  };
  using Position = std::map<std::string, Entry>::iterator;

  Position add(const std::string& id, Entry entry) { return entries_.emplace(id, std::move(entry)).first; }
  [[nodiscard]] Position find(const std::string& id) { return entries_.find(id); }
  [[nodiscard]] Position end() { return entries_.end(); }
  /// Returns the request of that id. Throws UsageError if there is none, or if its callback gets the
  /// response.
  [[nodiscard]] Position expect(const std::string& id);
  void erase(const std::string& id);
  /// Forgets a request whose requester no longer waits.
  void give_up(const std::string& id);
  [[nodiscard]] std::uint64_t changes() const { return changes_; }

  /// Notes the answer to a request; ignores an id that is not open.
  void answer(const std::string& id, Response response);
  void answer(Position request, Response&& response);
  /// Notes a failure for the requests to a peer that were sent when fewer than `sent_before` links had been
  /// lost.
  void fail(const std::string& peer, const std::exception_ptr& why, std::uint64_t sent_before = kNotSent);
  /// Notes a failure for each request to a peer for which `fails` returns true.
  void fail_if(const std::function<bool(const Entry& entry)>& fails, const std::string& peer,
               const std::exception_ptr& why);
  /// Returns the answer to a request, and forgets the request.
  Response fetch(Position request);
  /// Returns what has become of a request that is not open any more, for people; null: it was never made
  /// here, or long ago.
  [[nodiscard]] const char* history(const std::string& id) const;

  /// Whether an unanswered request to that peer was sent.
  [[nodiscard]] bool asks(const std::string& peer) const;
  /// Whether one was sent for which `is_so` returns true.
  [[nodiscard]] bool asks_any(const std::function<bool(const Entry& entry)>& is_so) const;
  /// Whether a request is unanswered, sent or not.
  [[nodiscard]] bool have_pending() const;
  /// The peers to which unanswered requests were sent.
  [[nodiscard]] std::set<std::string> asked_peers() const;
  /// The peers with unanswered requests, sent or not.
  [[nodiscard]] std::set<std::string> pending_peers() const;

  /// Calls `callback` in the next run_callbacks().
  void call_later(ResponseCallback callback, Response response) {
    due_.emplace_back(std::move(callback), std::move(response));
  }
  [[nodiscard]] bool has_callbacks() const { return !due_.empty(); }
  /// Calls the callbacks of answered requests until `is_over` returns true. A callback may end the owner of
  /// this object: `is_over` must then return true.
  template <class IsOver>
  void run_callbacks(IsOver&& is_over) {
    while (!due_.empty() && !is_over()) {
      const auto [callback, response] = std::move(due_.front());
      due_.pop_front();
      callback(response);
    }
  }

 private:
  void remember(std::string id, const char* what);

  std::map<std::string, Entry> entries_;
  std::uint64_t changes_ = 0;
  std::deque<std::pair<ResponseCallback, Response>> due_;
  std::deque<std::pair<std::string, const char*>> recent_;  // requests that are over
  std::unordered_set<std::size_t> given_up_;  // hashes of their ids: an answer may come long after
};

}  // namespace ipcm::client
