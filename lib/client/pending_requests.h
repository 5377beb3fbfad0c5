#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bus/member.h"
#include "bus/peer_changes.h"
#include "client/held_starts.h"
#include "client/open_requests.h"
#include "client/peer_watch.h"
#include "ipcm/client.h"
#include "ipcm/requester.h"
#include "loop/recovery.h"
#include "wire/parsed_content.h"

namespace ipcm::client {

/// The requests that one member sends, and the callbacks of its owner: it sends requests, waits for answers, and
/// calls back about answers and about changes among the peers.
///
/// The member hands each answer over when it comes in (OpenRequests notes it); PeerWatch fails the requests to
/// peers that go away; HeldStarts holds the requests to peers that are being started. Callbacks run from
/// process(), never inside the loop.
class PendingRequests : public std::enable_shared_from_this<PendingRequests> {
 public:
  using IncomingRequests = bus::Inbox::IncomingRequests;
  /// An answer to a request that this object has never made: it is dropped and reported; or it stays in the inbox
  /// like any message, and no message is looked at before the first request.
  enum class UnmatchedAnswers { drop, keep };
  PendingRequests(std::shared_ptr<bus::Member> member, IncomingRequests incoming,
                  UnmatchedAnswers unmatched = UnmatchedAnswers::drop);
  ~PendingRequests();
  PendingRequests(const PendingRequests&) = delete;
  PendingRequests& operator=(const PendingRequests&) = delete;

  [[nodiscard]] bus::Member& member() const { return member_; }
  [[nodiscard]] const std::shared_ptr<bus::Member>& shared_member() const { return shared_member_; }
  /// The owner ends. No callback runs any more; calls that still wait throw UsageError.
  void close() noexcept { closed_ = true; }
  /// Returns whether the owner has ended, or the member has left or is about to.
  [[nodiscard]] bool is_over() const noexcept {
    return closed_ || member_.has_left() || member_.is_to_leave();
  }
  /// Throws UsageError if it is over, since a callback has ended it.
  void expect_open() const;
  /// Sets the callback for answers to requests that this object has never made; for those in the inbox, too.
  void on_unmatched(ResponseCallback callback);
  /// Sets the callback for changes among the peers from now on; an empty function ends it.
  void on_peer_delta(PeerDeltaCallback callback);

  /// Sends a request, or holds it while its peer is being started. Throws what Member::send_slices() does.
  std::string send(const std::string& peer, const Content& payload, ResponseCallback callback,
                   const MessageOptions& options = {});
  /// Asks a service of this library for its facts; the answer comes as that of a request. It is sent only to a peer
  /// that says on the bus that it understands it, never to another. Throws PeerGone, UsageError for another peer.
  std::string send_inspection(const std::string& peer);
  /// nullopt: not there yet. Throws UsageError for an id that has none, or a callback.
  std::optional<Response> get(const std::string& id);
  Response await(const std::string& id, os::Deadline deadline);
  /// Sends and waits; when the deadline passes, the request is forgotten.
  Response ask(const std::string& peer, const Content& payload, os::Deadline deadline,
               const MessageOptions& options = {});
  void forget(const std::string& id);
  void await_all(os::Deadline deadline);
  [[nodiscard]] bool have_pending() const { return open_.have_pending(); }

  /// Fails the requests to peers that have gone, and runs the callbacks that are due.
  void process();
  /// Returns whether process() would find something to do, or the inbox holds messages.
  [[nodiscard]] bool has_work() const {
    return !member_.inbox().empty() || open_.has_callbacks() || peers_.has_work() || has_peer_delta();
  }
  [[nodiscard]] bool has_callbacks() const { return open_.has_callbacks(); }
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
  /// Takes the answers from the inbox, now and when they come.
  void attach();
  [[nodiscard]] bool has_peer_delta() const {
    return peer_changes_ && peer_changes_->has_news() && !listing_.is_waiting();
  }
  void run_peer_delta();
  /// Sends a request that is open. `begin`: the text before its payload. Throws what Member::send_slices() does.
  void transmit(OpenRequests::Position request, const std::string& id, std::string begin,
                const Content& payload, const Fields& fields);
  /// As transmit(); if it throws, the request is not open any more.
  void transmit_or_forget(OpenRequests::Position request, const std::string& id, std::string begin,
                          const Content& payload, const Fields& fields);
  /// Notes an answer; the inbox calls it inside the loop. Returns false if the answer should stay there.
  bool take_answer(const std::string& from, wire::ParsedContent& answer);
  /// Fails all requests, with the reason, once the bus has ended.
  void fail_ended();
  /// Runs the loop until `done` returns true, or the deadline passes (false).
  template <class Done>
  bool wait(Done&& done, os::Deadline deadline);

  std::shared_ptr<bus::Member> shared_member_;
  bus::Member& member_;
  IncomingRequests incoming_;
  UnmatchedAnswers unmatched_;
  bool attached_ = false;
  ResponseCallback on_unmatched_;
  bool closed_ = false;
  bool failed_ended_ = false;
  OpenRequests open_;
  HeldStarts starts_;
  PeerWatch peers_;
  PeerDeltaCallback on_peer_delta_;
  std::optional<bus::PeerChanges> peer_changes_;  // if on_peer_delta_ is set
  Recovery listing_;
};

}  // namespace ipcm::client
