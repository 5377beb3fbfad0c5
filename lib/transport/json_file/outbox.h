#pragma once

#include <cstddef>
#include <deque>
#include <string>

#include "transport/json_file/document.h"
#include "transport/json_file/presence.h"
#include "transport/transport.h"

namespace ipcm::transport {

/// What one member has to write into other members' mailboxes, in order. Messages wait here while somebody
/// else has the document locked.
class JsonOutbox {
 public:
  using Sent = Transport::Sent;
  JsonOutbox(const JsonPresence& presence, const std::string& route, Receiver& receiver)
      : presence_(presence), route_(route), receiver_(receiver) {}

  /// Throws ProtocolError for a message that is too large.
  [[nodiscard]] static std::string prepare(const Message& message);
  /// Writes a message into the document. done: the document was changed; else `why` tells.
  [[nodiscard]] Sent put(JsonDocument& document, const std::string& to, const std::string& text,
                         std::string& why) const;
  /// Whether so many bytes more for that receiver can be queued.
  [[nodiscard]] bool has_room(const std::string& to, std::size_t size) const;
  /// Queues it. full: too much waits already.
  [[nodiscard]] Sent queue(std::string to, std::string text, std::string& why);
  /// Writes all that is queued; whether the document was changed. What can't be delivered is told to the
  /// receiver by finish_flush(), once the document is let go.
  [[nodiscard]] bool flush(JsonDocument& document);
  void finish_flush();

  [[nodiscard]] bool empty() const { return queue_.empty(); }
  [[nodiscard]] std::size_t size() const { return queue_.size(); }
  [[nodiscard]] std::size_t bytes_for(const std::string& peer) const;
  void abandon(const std::string& peer);
  /// Nothing that is queued can be delivered any more; finish_flush() tells.
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
