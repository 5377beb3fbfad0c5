#pragma once

#include <cstddef>
#include <deque>
#include <string>

#include "transport/json_file/document.h"
#include "transport/json_file/presence.h"
#include "transport/transport.h"

namespace ipcm::transport {

/// The messages that one member has to write into mailboxes of others, in order. They wait here while
/// another process has the document locked.
class JsonOutbox {
 public:
  using Sent = Transport::Sent;
  using SendResult = Transport::SendResult;
  JsonOutbox(const JsonPresence& presence, const std::string& route, Receiver& receiver)
      : presence_(presence), route_(route), receiver_(receiver) {}

  /// Returns the text of a message. Throws ProtocolError if it is too large.
  [[nodiscard]] static std::string prepare(const Message& message);
  /// Writes a message into the document. done: the document was changed.
  [[nodiscard]] SendResult put(JsonDocument& document, const std::string& to, const std::string& text) const;
  /// Returns whether the queue for that receiver has room.
  [[nodiscard]] bool has_room(const std::string& to, std::size_t size) const;
  /// Queues a message. full: the queue has no room.
  [[nodiscard]] SendResult queue(std::string to, std::string text);
  /// Writes all queued messages. Returns whether the document was changed. Messages that cannot be
  /// delivered are reported by finish_flush(), after the document was unlocked.
  [[nodiscard]] bool flush(JsonDocument& document);
  void finish_flush();

  [[nodiscard]] bool empty() const { return queue_.empty(); }
  [[nodiscard]] std::size_t size() const { return queue_.size(); }
  [[nodiscard]] std::size_t bytes_for(const std::string& peer) const;
  void abandon(const std::string& peer);
  /// Marks all queued messages as undeliverable; finish_flush() reports them.
  void give_up(const std::string& why) {
    for (const Outgoing& one : queue_) failed_.push_back({one.to, why, Sent::gone});
  }

 private:
  struct Outgoing {
    std::string to, text;
  };
  struct Failed {
    std::string to, why;
    Sent how;
  };
  const JsonPresence& presence_;
  const std::string& route_;
  Receiver& receiver_;
  std::deque<Outgoing> queue_;
  std::deque<Failed> failed_;
};

}  // namespace ipcm::transport
