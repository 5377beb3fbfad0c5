#pragma once

#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "loop/recovery.h"
#include "transport/connection_unix/connection.h"
#include "transport/directory/directory_transport.h"
#include "wire/envelope.h"

namespace ipcm::transport {

// Every member listens at ROUTE/N. A member that sends to a peer for the first time connects to it and
// greets with its own name; both then use that connection in both directions. See docs/bus.md for the
// bytes.
//
// Large messages between two members of ours go through shared memory (shared_memory.h). Both agree on it
// in steps, and each step needs the one before, so that a peer that does not know shared memory, or has no
// descriptor left, only sees plain messages:
// 1. The greeting of the member that opened the connection says that it supports shared memory.
// 2. The member that accepted the connection says so when a large message has come through the socket.
// 3. A member with a large message for a peer that supports it passes a memory file, and sends this message
//    through the socket.
// 4. The peer maps the file, and says so.
//
// Callbacks know a connection by an id, since any callback may close any connection.

class ConnectionUnix final : public DirectoryTransport {
 public:
  ConnectionUnix(const JoinRequest& request, Loop& loop, Receiver& receiver);
  ~ConnectionUnix() override;

  SendResult send(const Message& message) override;
  SendResult send_slices(Message& message, const wire::ContentSlices& content) override;
  SendResult reply(Message& message, const wire::ContentSlices& content, std::uint64_t connection) override;
  SendResult gather(Message& message, const wire::ContentSlices& content) override;
  [[nodiscard]] std::vector<Gathered> gathered() const override;
  SendResult send_gathered(const std::string& peer) override;
  [[nodiscard]] std::size_t queued_bytes(const std::string& peer) const override;
  [[nodiscard]] std::size_t queued_messages() const override;
  void abandon(const std::string& peer) override;
  void abandon_asker(const std::string& peer, std::uint64_t connection) override;
  void drain() override;
  void receive(bool on) override;
  [[nodiscard]] Identified identify_surely(const std::string& peer) override;
  [[nodiscard]] bool keeps_links() const override { return true; }
  [[nodiscard]] bool has_clear_link(const std::string& peer) const override {
    const Connection* connection = route_to(peer);
    return connection != nullptr && connection->queued_bytes() == 0;
  }

 private:
  void stop_listening() override;
  void close_links() override;
  using Id = std::uint64_t;

  SendResult send_encoded(const Message& message, const wire::EncodedMessage& payload, Id answers = 0);
  /// Calls `put(connection)` on the connection to a peer, or on a new one if that has ended.
  template <class Put>
  SendResult put_on_route(const std::string& peer, std::size_t size, Put&& put);
  /// Calls `put(connection)`; nullopt: the connection had ended.
  template <class Put>
  std::optional<SendResult> put_on(Connection& connection, std::size_t size, Put&& put);
  /// Returns why a connection has no room for so many bytes; empty: it has.
  [[nodiscard]] static std::string why_full(const Connection& connection, std::size_t size);
  enum class Callers { some, all };
  void accept(Callers callers);
  void take_caller(os::UniqueFd socket);
  /// Closes a caller that has not greeted, for the sake of others; false: there is none.
  bool drop_silent_caller(const std::string& why);
  struct Connected {
    Connection* connection = nullptr;
    std::string why = {};  // null: the reason
  };
  [[nodiscard]] Connected connect(const std::string& peer);
  Connection& adopt(std::unique_ptr<Connection> connection);
  void on_ready(Id id, std::uint32_t events);
  void read(Id id, std::size_t most);
  void limit_unread();
  bool take_frame(Id id, Connection& connection, std::string_view payload);
  bool take_memory_frame(Connection& connection, const MemoryFrame& frame);
  bool map_memory(Connection& connection, std::uint64_t size);
  Connection::Flow send_large(Connection& connection, const wire::EncodedMessage& payload);
  void rest_after(Duration time);
  [[nodiscard]] bool is_late_greeting(std::string_view payload) const;
  void greeted(Id id, Connection& connection, wire::Hello hello);
  void close(Id id, const std::string& why);
  [[nodiscard]] Connection* route_to(const std::string& peer) const;
  void want_events(Connection& connection);

  os::UniqueFd listener_;
  os::UniqueFd reserve_;
  Watch listening_;
  Recovery accepting_;
  std::set<Id> silent_;   // callers that have not greeted, the oldest first
  bool refuses_ = false;  // it closes silent callers, and has reported that
  Id last_id_ = 0;
  std::unordered_map<Id, std::unique_ptr<Connection>> connections_;
  std::unordered_map<std::string, Id> by_peer_;  // the one to send on
  /// Frames that are sent together. Not part of a connection: if the connection ends, they take the next
  /// one, as single messages do.
  struct Batch {
    std::string frames;
    std::size_t messages = 0;
  };
  std::unordered_map<std::string, Batch> batches_;  // by peer
  std::string spare_;                               // the memory of a sent batch, for the next one
  bool receiving_ = true;
  Watch rest_;
  bool rest_is_due_ = false;
};

}  // namespace ipcm::transport
