#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bus/member.h"
#include "client/held_starts.h"
#include "client/open_requests.h"
#include "client/peer_watch.h"
#include "ipcm/requester.h"
#include "wire/parsed_content.h"

namespace ipcm::client {

/// The requests that one member sends: it sends them, waits for answers, and calls callbacks.
///
/// The member hands each answer over when it comes in (OpenRequests notes it); PeerWatch fails the requests to
/// peers that go away; HeldStarts holds the requests to peers that are being started. Callbacks run from
/// process(), never inside the loop.
class PendingRequests : public std::enable_shared_from_this<PendingRequests> {
 public:
  using IncomingRequests = bus::Inbox::IncomingRequests;
  /// An answer to a request that this object has never made: it is dropped and reported, or stays in the inbox
  /// like any message.
  enum class UnmatchedAnswers { drop, keep };
  PendingRequests(std::shared_ptr<bus::Member> member, IncomingRequests incoming,
                  UnmatchedAnswers unmatched = UnmatchedAnswers::drop);
  ~PendingRequests();
  PendingRequests(const PendingRequests&) = delete;
  PendingRequests& operator=(const PendingRequests&) = delete;

  /// Keeps this object alive during a call: a callback may destroy its owner.
  [[nodiscard]] std::shared_ptr<PendingRequests> hold() { return shared_from_this(); }
  /// The owner ends. No callback runs any more; calls that still wait throw UsageError.
  void close() noexcept { closed_ = true; }
  [[nodiscard]] bool is_closed() const noexcept { return closed_; }
  /// Throws UsageError if a callback has closed it.
  void expect_open() const;
  /// Sets the callback for answers to requests that this object has never made.
  void on_unmatched(ResponseCallback callback) { on_unmatched_ = std::move(callback); }

  /// Sends a request, or holds it while its peer is being started. Throws what Member::send_slices() does.
  std::string send(const std::string& peer, const Content& payload, ResponseCallback callback);
  /// nullopt: not there yet. Throws UsageError for an id that has none, or a callback.
  std::optional<Response> get(const std::string& id);
  Response await(const std::string& id, os::Deadline deadline);
  /// Sends and waits; when the deadline passes, the request is forgotten.
  Response ask(const std::string& peer, const Content& payload, os::Deadline deadline);
  void await_all(os::Deadline deadline);
  [[nodiscard]] bool have_pending() const { return open_.have_pending(); }

  /// Fails the requests to peers that have gone, and runs the callbacks of answered requests.
  void process();
  /// Whether process() would find something to do, or the inbox holds messages.
  [[nodiscard]] bool has_work() const {
    return !member_.inbox().empty() || open_.has_callbacks() || peers_.has_work();
  }
  /// Reads what has arrived, and returns the messages that are no answers.
  [[nodiscard]] std::vector<Message> messages();

  /// The services that the owner of the member starts. A start that is held holds requests, until its verdict:
  /// then they are sent, or fail.
  [[nodiscard]] HeldStarts& starts() { return starts_; }
  /// Sends, or fails, the requests whose start is decided.
  void release_decided();
  /// Fails requests that waited for the start of a peer.
  void fail_held(const std::string& peer, const std::vector<HeldStarts::Request>& requests,
                 const std::exception_ptr& why);

 private:
  /// Sends a request that is open. Throws what Member::send_slices() does.
  void transmit(OpenRequests::Position request, const std::string& id, const Content& payload);
  /// Notes an answer; the inbox calls it inside the loop. Returns false if the answer should stay there.
  bool take_answer(const std::string& from, wire::ParsedContent& answer);
  /// Fails all requests, with the reason, once the bus has ended.
  void fail_ended();
  /// Runs the loop until `done` returns true, or the deadline passes (false).
  template <class Done>
  bool wait(Done&& done, os::Deadline deadline);

  std::shared_ptr<bus::Member> shared_member_;
  bus::Member& member_;
  UnmatchedAnswers unmatched_;
  ResponseCallback on_unmatched_;
  bool closed_ = false;
  bool failed_ended_ = false;
  OpenRequests open_;
  HeldStarts starts_;
  PeerWatch peers_;
};

}  // namespace ipcm::client
