#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ipcm/client.h"
#include "ipcm/error.h"
#include "ipcm/message.h"
#include "loop/loop.h"
#include "os/clock.h"
#include "transport/transport.h"

namespace ipcm::bus {

/// Empties a vector of messages and keeps its capacity for the next ones, unless that is very large.
void clear_for_more(std::vector<wire::IncomingMessage>& messages);

/// The part of a Client, a Handle and a Service that is on the bus: a transport, the inbox, and the counts.
/// Runs on a loop that it may share.
///
/// An incoming message is classified when the transport hands it over: an answer goes to its request (see
/// on_answer()), everything else into the inbox, until the owner takes it. A full inbox stops the transport
/// from reading, so that the senders have to wait.
class Member final : private transport::Receiver, public std::enable_shared_from_this<Member> {
 public:
  /// How it behaves when a receiver is slow.
  enum class Sending {
    waits,  ///< send() waits: for a Client, whose loop runs only inside its calls
    queues  ///< send() never blocks: for a service, whose loop always runs
  };
  Member(const transport::JoinRequest& request, std::shared_ptr<Loop> loop, Sending sending);
  /// Leaves, if it has not: silently, and without waiting for anything.
  ~Member() override;
  Member(const Member&) = delete;
  Member& operator=(const Member&) = delete;

  [[nodiscard]] const std::string& name() const { return request_.name; }
  [[nodiscard]] const BusInfo& info() const { return request_.info; }
  [[nodiscard]] const transport::Protocol& protocol() const { return protocol_; }
  [[nodiscard]] Loop& loop() const { return *loop_; }
  [[nodiscard]] const std::shared_ptr<Loop>& shared_loop() const { return loop_; }

  /// Throws PeerGone, Timeout (a guest), Error (a host's queue is full). Returns the message's id.
  std::string send(std::string_view to, const Content& content, bool broadcast = false);
  /// Sends a content in slices, which is not null, under a unique id; at once, also inside a batch.
  /// `connection`: the connection of the request that it answers; see Transport::reply().
  void send_slices(std::string id, std::string_view to, const wire::ContentSlices& content,
                   std::uint64_t connection = 0);
  void broadcast(const Content& content);

  /// From here to the matching end_batch(), send() may gather messages and send several at once. send_batch()
  /// sends them now: a caller needs that before it waits for an answer.
  void begin_batch() { ++batches_; }
  /// Sends the gathered messages. Does not throw: reports messages that could not be sent as dropped. Does
  /// nothing in a forked process, and after leave().
  void end_batch() noexcept;
  /// Sends the gathered messages. Throws as send() does, for the first peer for which that failed, after it has
  /// sent the messages for all other peers.
  void send_batch();

  /// Gets each answer, inside the loop. It may end the object that it belongs to.
  using OnAnswer = std::function<void(const std::string& from, wire::ParsedContent& answer)>;
  /// Requests in the inbox: parsed, for a service that answers them, or whole.
  enum class IncomingRequests { parsed, whole };
  /// From now on answers do not go into the inbox but to `answered`; those that are there already go there
  /// at once. An empty function: answers go into the inbox again.
  void on_answer(OnAnswer answered, IncomingRequests requests);
  /// Acknowledges the answers that were handed over, where the bus keeps messages.
  void finish_answers();
  /// The number of messages that the transport has handed over so far, answers included.
  [[nodiscard]] std::uint64_t incoming_count() const { return incoming_; }

  [[nodiscard]] bool has_messages() const { return !inbox_.empty(); }
  [[nodiscard]] std::size_t inbox_messages() const { return inbox_.size(); }
  /// Nothing more comes, not even an answer, until the inbox is taken.
  [[nodiscard]] bool is_inbox_full() const { return paused_; }
  /// Returns the content of the inbox, in order; does not read more. finish_taken() acknowledges the
  /// messages once the caller has processed them; leave() calls it.
  [[nodiscard]] std::vector<Message> take();
  /// Gives back messages that take() returned, for the next reader of this name.
  void requeue(const std::vector<Message>& messages);
  void finish_taken();
  /// Moves the content of the inbox into `into`, which must be empty; its capacity is reused. The caller
  /// acknowledges the messages with finish().
  void take_each(std::vector<wire::IncomingMessage>& into);
  void finish(const std::vector<std::string>& ids);
  /// Returns whether the bus keeps messages until they are acknowledged; on others finish() does nothing.
  [[nodiscard]] bool keeps_messages() const { return keeps_messages_; }
  /// Returns the number of messages in the inbox, without those that only ask to terminate.
  [[nodiscard]] std::size_t unread() const;
  /// Reads what has arrived, without waiting. If the bus keeps messages, it reads no more than a reader
  /// should have at once: the rest comes after that was taken.
  void drain();
  /// Reads what has arrived also when the inbox is full, up to twice its limit: the answer of a peer that has
  /// ended may stand behind the messages of others.
  void drain_beyond_limit();
  [[nodiscard]] transport::Transport& transport() { return *transport_; }
  [[nodiscard]] const transport::Transport& transport() const { return *transport_; }

  /// Wait until a peer is active, or gone; changes of the bus wake them. false: the deadline came first.
  bool await_active(const std::string& peer, os::Deadline deadline);
  bool await_gone(const std::string& peer, os::Deadline deadline);

  void count_statistics(bool keep) { keeps_statistics_ = keep; }
  /// Includes the counts of earlier members of this name.
  [[nodiscard]] const Statistics& statistics();
  [[nodiscard]] std::uint64_t dropped_count() const { return dropped_; }
  /// Counts a dropped message, and calls the diagnostics callback.
  void note_dropped(const std::string& sentence) { dropped(sentence); }
  void on_diagnostic(Diagnostics tell) { diagnostics_ = std::move(tell); }
  /// Called inside the loop, when the way to a peer has ended; `link`: see Transport::last_link().
  using LinkLost = std::function<void(const std::string& peer, std::uint64_t link)>;
  void on_link_lost(LinkLost tell) { link_lost_ = std::move(tell); }
  /// The number of links to peers that have ended so far; and that number when the last message was sent,
  /// which may have used a new link.
  [[nodiscard]] std::uint64_t losses() const { return losses_; }
  [[nodiscard]] std::uint64_t sent_at() const { return sent_at_; }
  /// Why this member has lost its place on the bus for good; empty as long as it has one. Nothing more comes
  /// then, and whoever waits is to end with that reason.
  [[nodiscard]] const std::string& ended() const { return ended_; }
  /// Throws BusError if it has.
  void expect_bus() const;

  /// Counts the changes among the peers, once they are watched. A reader compares it with an earlier value.
  [[nodiscard]] std::uint64_t peer_changes() const { return peer_changes_; }

  /// Sends the queued messages, as long as the deadline allows, then leaves. Idempotent.
  void leave(os::Deadline flush);
  /// Leaves without waiting, and does not throw.
  void leave_silently() noexcept;
  /// Leaves for a while; see Transport::suspend(). What is queued is sent first, as long as the deadline
  /// allows.
  void suspend(std::optional<double> expires, os::Deadline flush);
  [[nodiscard]] bool has_left() const { return left_; }
  /// A diagnostics callback runs, which the transport has called: leave() takes effect when that call has
  /// returned.
  [[nodiscard]] bool is_telling() const { return telling_ > 0; }
  /// Whether leave() was called inside such a callback.
  [[nodiscard]] bool is_to_leave() const { return to_leave_ && !left_; }
  /// Throws UsageError in a process that was forked from the one that joined, and after leave().
  void expect_usable() const;

 private:
  void incoming(wire::IncomingMessage message) override;
  void link_lost(const std::string& peer) override { connection_lost(peer, 0); }
  void connection_lost(const std::string& peer, std::uint64_t link) override;
  void peers_changed() override { ++peer_changes_; }
  void bus_ended(const std::string& why) override;
  void dropped(const std::string& sentence) override;
  void undelivered(const std::string& peer, std::size_t messages, const std::string& why) override;
  void stamp(Message& message, std::chrono::system_clock::time_point now);
  /// Hands an answer over, or parses another message. Returns whether the message belongs in the inbox.
  bool classify(wire::IncomingMessage& message);
  /// Stops the transport from reading once the inbox has reached its limit.
  void pause_if_full();
  /// Sorts and counts the messages of the inbox, which are about to be taken.
  void prepare_inbox();
  enum class When { now, with_others };
  void transmit(Message& message, std::chrono::system_clock::time_point now,
                const wire::ContentSlices& content, When when, std::uint64_t connection = 0);
  /// `messages` that were handed over, and what came of it: throws if they can't be sent, and waits where a
  /// guest has to.
  [[nodiscard]] std::string subject(const std::string& to, std::size_t messages) const;
  void settle(const std::string& to, transport::Transport::Sent sent, const std::string& why,
              std::size_t messages);
  /// A batch that the transport has, whose result the caller does not know yet.
  struct HandedOver {
    transport::Transport::Gathered batch;
    transport::Transport::Sent sent;
    std::string why;
    bool lost = false;  // queued, and undelivered since
  };
  /// Waits until the receiver has taken the messages that are queued for it; throws if it does not.
  void await_taken(const std::string& to, std::size_t messages);
  [[nodiscard]] PeerGone not_taken_whole(const HandedOver& handed) const;
  [[nodiscard]] HandedOver hand_over(const transport::Transport::Gathered& batch);
  void hand_over_all();
  void settle(const HandedOver& handed);
  void send_batch_to(const std::string& to);
  template <class Failed>
  void send_all_gathered(Failed&& failed);
  template <class Condition>
  bool await_change(Condition&& condition, os::Deadline deadline);

  transport::JoinRequest request_;
  std::shared_ptr<Loop> loop_;
  Sending sending_;
  const transport::Protocol& protocol_;
  std::uint32_t born_in_;
  bool left_ = false;
  unsigned telling_ = 0;
  bool to_leave_ = false;
  Watch end_;  // destroys a member whose owner let it go inside its own callback
  unsigned batches_ = 0;
  std::list<HandedOver> handed_over_;  // batches to be waited for
  std::list<HandedOver> awaited_;      // being waited for; several if a diagnostics callback sends
  bool keeps_statistics_ = true;
  bool keeps_messages_ = false;
  std::uint64_t losses_ = 0, sent_at_ = 0;
  std::string ended_;
  bool paused_ = false;  // the inbox is full: the transport reads nothing until it is taken
  std::size_t inbox_bytes_ = 0;
  std::size_t inbox_limit_;
  std::vector<wire::IncomingMessage> inbox_;
  std::uint64_t incoming_ = 0;
  OnAnswer on_answer_;
  IncomingRequests incoming_requests_ = IncomingRequests::whole;
  std::vector<std::string> finished_answers_;  // ids of their messages
  std::uint64_t peer_changes_ = 0;
  std::vector<std::string> unfinished_;  // ids of the messages that take() returned last
  Statistics statistics_;
  bool knows_past_ = false;  // statistics_ includes the counts of earlier members of this name
  std::uint64_t dropped_ = 0;
  double last_stamp_ = 0;
  std::uint64_t last_ord_ = 0;
  Diagnostics diagnostics_;
  LinkLost link_lost_;
  std::unique_ptr<transport::Transport> transport_;  // last: it calls back
};

}  // namespace ipcm::bus
