#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <string>
#include <string_view>

#include "bus/message_counts.h"
#include "ipcm/content.h"
#include "ipcm/error.h"
#include "ipcm/message.h"
#include "transport/transport.h"

namespace ipcm::bus {

class Member;

/// Sends the messages of a member, one by one or in batches.
///
/// Each function that sends throws UsageError in a process that was forked from the member's, and after the
/// member has left.
class Sender {
 public:
  /// How it behaves when a receiver is slow.
  enum class Sending {
    waits,  ///< send() waits: for a Client, whose loop runs only inside its calls
    queues  ///< send() never blocks: for a service, whose loop always runs
  };
  Sender(Member& member, MessageCounts& counts, Sending sending)
      : member_(member), counts_(counts), sending_(sending) {}
  Sender(const Sender&) = delete;
  Sender& operator=(const Sender&) = delete;

  /// Returns the message's id. Throws PeerGone, Timeout (if it waits), Error (the queue is full).
  std::string send(std::string_view to, const Content& content, const MessageOptions& options = {},
                   bool broadcast = false);
  /// Sends a content in slices, which is not null, under a unique id; at once, also inside a batch.
  /// `connection`: the connection of the request that it answers; see Transport::reply().
  void send_slices(std::string id, std::string_view to, const wire::ContentSlices& content,
                   std::uint64_t connection = 0, const Fields& fields = {});
  /// Sends to all other peers. Throws UsageError or ProtocolError for a content that the bus can't carry, and
  /// BusError if the member has lost the bus.
  BroadcastResult broadcast(const Content& content, const MessageOptions& options = {});

  /// Throws UsageError for fields that can't be sent on this bus; send() and the others do so, too.
  void check_fields(const Fields& fields) const;

  /// From here to the matching end_batch(), send() may gather messages and send several at once. send_batch()
  /// sends them now: a caller needs that before it waits for an answer.
  void begin_batch() { ++batches_; }
  /// Sends the gathered messages. Does not throw: reports messages that could not be sent as dropped. Does
  /// nothing in a forked process, and after the member has left.
  void end_batch() noexcept;
  /// Sends the gathered messages. Throws as send() does, for the first peer for which that failed, after it has
  /// sent the messages for all other peers.
  void send_batch();

  /// The member is about to leave: sends the gathered messages, reports the failures as dropped, and waits for
  /// no receiver any more: the member waits for all queues at once.
  void finish();
  /// Messages that were queued for a peer were discarded. Returns whether a caller waits for some of them: it
  /// gets an exception.
  [[nodiscard]] bool undelivered(const std::string& peer, const std::string& why);
  /// Returns Member::losses() as it was when the last message was sent, which may have used a new link.
  [[nodiscard]] std::uint64_t sent_at() const { return sent_at_; }

 private:
  /// A batch that the transport has, whose result the caller does not know yet.
  struct HandedOver {
    transport::Transport::Gathered batch;
    transport::Transport::Sent sent;
    std::string why;
    bool lost = false;  // queued, and undelivered since
  };
  enum class When { now, with_others };

  void stamp(Message& message, std::chrono::system_clock::time_point now);
  void transmit(Message& message, std::chrono::system_clock::time_point now,
                const wire::ContentSlices& content, When when, std::uint64_t connection = 0);
  /// Completes the sending of `messages` that the transport has taken over, or not: throws if they can't be
  /// sent, and waits for a slow receiver if this sender waits.
  void resolve(const std::string& to, transport::Transport::Sent sent, const std::string& why,
               std::size_t messages);
  void resolve(const HandedOver& handed);
  /// Waits until the receiver has taken the messages that are queued for it; throws if it does not.
  void await_taken(const std::string& to, std::size_t messages);
  /// Returns the beginning of an error's sentence.
  [[nodiscard]] std::string subject(const std::string& to, std::size_t messages) const;
  [[nodiscard]] PeerGone not_taken_whole(const HandedOver& handed) const;
  [[nodiscard]] HandedOver hand_over(const transport::Transport::Gathered& batch);
  void hand_over_all();
  void send_batch_to(const std::string& to);
  template <class Failed>
  void send_all_gathered(Failed&& failed);

  Member& member_;
  MessageCounts& counts_;
  Sending sending_;
  unsigned batches_ = 0;
  std::list<HandedOver> handed_over_;  // batches to be waited for
  std::list<HandedOver> awaited_;      // being waited for; several if a diagnostics callback sends
  std::uint64_t sent_at_ = 0;
  double last_stamp_ = 0;
  std::uint64_t last_ord_ = 0;
};

}  // namespace ipcm::bus
