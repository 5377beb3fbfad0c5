#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bus/message_counts.h"
#include "ipcm/message.h"
#include "loop/loop.h"
#include "transport/transport.h"

namespace ipcm::bus {

/// Empties a vector of messages and keeps its capacity for the next ones, unless that is very large.
void clear_for_more(std::vector<wire::IncomingMessage>& messages);

/// The messages that a member has received and its owner has not taken yet.
///
/// An incoming message is classified when the transport hands it over: an answer goes to its request (see
/// on_answer()), everything else waits here, in order. A full inbox stops the transport from reading, so that
/// the senders have to wait.
class Inbox {
 public:
  Inbox(Loop& loop, MessageCounts& counts);
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;

  /// The transport has joined; it may have handed messages over before. Borrows it for good.
  /// `keeps_messages`: the bus keeps each message until the member acknowledges it.
  void start(transport::Transport& transport, bool keeps_messages);
  /// The member leaves. The messages that wait here can still be taken.
  void close() { closed_ = true; }
  void incoming(wire::IncomingMessage message);

  /// Gets each answer, inside the loop. Returns whether it has accepted the answer; otherwise the answer waits
  /// here, and must be unchanged. The call may end the object that it belongs to.
  using OnAnswer = std::function<bool(const std::string& from, wire::ParsedContent& answer)>;
  /// Requests in the inbox: parsed, for a service that answers them, or whole.
  enum class IncomingRequests { parsed, whole };
  /// From now on answers go to `answered`; those that wait here already go there at once. An empty function:
  /// answers wait here again.
  void on_answer(OnAnswer answered, IncomingRequests requests);
  /// Acknowledges the answers that were handed over.
  void finish_answers();

  [[nodiscard]] bool empty() const { return messages_.empty(); }
  [[nodiscard]] std::size_t size() const { return messages_.size(); }
  /// Returns the number of messages, without those that only ask to terminate.
  [[nodiscard]] std::size_t unread() const;
  /// Nothing more comes, not even an answer, until the messages are taken.
  [[nodiscard]] bool is_full() const { return paused_; }
  /// Returns the number of messages that the transport has handed over so far, answers included.
  [[nodiscard]] std::uint64_t incoming_count() const { return incoming_; }

  /// Reads the messages that have arrived, without waiting. If the bus keeps messages, it reads no more than a
  /// reader should have at once: the rest comes after those were taken.
  void drain();
  /// Reads also when the inbox is full, up to twice its limit: the answer of a peer that has ended may stand
  /// behind the messages of others.
  void drain_beyond_limit();

  /// Returns all messages, in order; reads no more. finish_taken() acknowledges them once the caller has
  /// processed them.
  [[nodiscard]] std::vector<Message> take();
  void finish_taken();
  /// Gives back messages that take() returned, for the next reader of this name.
  void requeue(const std::vector<Message>& messages);
  /// Moves all messages into `into`, which must be empty; its capacity is reused. The caller acknowledges the
  /// messages with finish().
  void take_each(std::vector<wire::IncomingMessage>& into);
  /// Acknowledges messages. Does nothing on a bus that keeps none, after close(), and in a forked process.
  void finish(const std::vector<std::string>& ids);
  [[nodiscard]] bool keeps_messages() const { return keeps_messages_; }

 private:
  /// Hands an answer over, or parses another message. Returns whether the message is to wait here.
  bool classify(wire::IncomingMessage& message);
  /// Stops the transport from reading once the limit is reached.
  void pause_if_full();
  /// Sorts and counts the messages, which are about to be taken.
  void prepare();

  Loop& loop_;
  MessageCounts& counts_;
  transport::Transport* transport_ = nullptr;
  std::uint32_t born_in_;
  bool closed_ = false;
  bool keeps_messages_ = false;
  bool paused_ = false;  // full: the transport reads nothing until the messages are taken
  std::size_t bytes_ = 0;
  std::size_t limit_;
  std::vector<wire::IncomingMessage> messages_;
  std::uint64_t incoming_ = 0;
  OnAnswer on_answer_;
  IncomingRequests incoming_requests_ = IncomingRequests::whole;
  std::vector<std::string> finished_answers_;  // ids of their messages
  std::vector<std::string> unfinished_;        // ids of the messages that take() returned last
};

}  // namespace ipcm::bus
