#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>

#include "transport/database/peer_processes.h"
#include "transport/database/registration.h"
#include "transport/database/store.h"
#include "transport/transport.h"

namespace ipcm::database {

/// The limit of queued bytes for one receiver; beyond it messages are refused.
inline constexpr std::int64_t kMostMessages = 100'000, kMostBytes = 128L * 1024 * 1024;

/// The messages that one member sends: rows for others, in order. They wait here while another process has
/// the database locked.
class Outbox {
 public:
  using Sent = transport::Transport::Sent;
  using SendResult = transport::Transport::SendResult;
  struct Outgoing {
    std::string id, to, payload;
    double stamp;
    bool broadcast;
  };
  struct Calls {
    std::function<void()> watch_rows;       ///< this member now has a receiver: watch its row
    std::function<void()> try_again_later;  ///< call flush() later
    std::function<void(const StoreError& error)> bus_is_gone;  ///< the bus, or only the connection, is gone
  };
  /// All must outlive it.
  Outbox(Store& store, Registration& registration, PeerProcesses& peer_processes,
         const transport::JoinRequest& request, transport::Receiver& receiver, Calls calls)
      : store_(store),
        registration_(registration),
        peer_processes_(peer_processes),
        request_(request),
        receiver_(receiver),
        calls_(std::move(calls)) {}

  /// Sends a message. Throws ProtocolError if it is too large.
  [[nodiscard]] Outgoing prepare(const Message& message);
  [[nodiscard]] SendResult send(Outgoing message);
  /// Queues a message for flush().
  [[nodiscard]] SendResult queue(Outgoing message);
  /// Discards the queue: nothing in it can be sent any more.
  void give_up(const std::string& why);
  /// Sends queued messages as far as that is possible now.
  void flush();
  [[nodiscard]] std::size_t queued_bytes(const std::string& peer) const;
  [[nodiscard]] std::size_t queued_messages() const { return queue_.size(); }
  void abandon(const std::string& peer);

 private:
  enum class Attempt { done, gone, full, busy };
  struct Tried {
    Attempt how;
    std::string why = {};  // the reason, unless done
  };
  [[nodiscard]] Tried try_send(const Outgoing& message);
  [[nodiscard]] bool insert(const Outgoing& message, const std::string& to);
  /// Returns whether the server has stored a message although it answered late. Throws StoreError of kind
  /// busy if it has still not answered.
  [[nodiscard]] bool was_stored(const Outgoing& message);
  /// Returns why the receiver has no room for so many bytes; empty: it has.
  [[nodiscard]] std::string why_full(const std::string& id, std::size_t size);

  Store& store_;
  Registration& registration_;
  PeerProcesses& peer_processes_;
  const transport::JoinRequest& request_;
  transport::Receiver& receiver_;
  Calls calls_;
  double last_stamp_ = 0;
  std::deque<Outgoing> queue_;
  /// The message whose insertion was late last. Without this a repeated insertion would deliver the message
  /// twice: its receiver may have removed the first row by then.
  struct LateInsertion {
    std::string id;
    bool stored = false;
  };
  LateInsertion late_;
  struct Room {
    std::size_t messages = 0, bytes = 0;
  };
  std::map<std::string, Room> room_;  // what may be sent before it is counted again, by id
};

}  // namespace ipcm::database
