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

// Every member listens at ROUTE/N. Who has something to say to a peer connects to it, greets with its own
// name, and both use that connection from then on, each way. See docs/bus.md for the bytes.
//
// Large messages between two of ours go through memory that they share (shared_memory.h). They come to that
// step by step, and each step needs the one before, so that a peer that does not know of it, or has no
// descriptor left, never meets anything but plain messages:
//   who has opened the connection has said in its greeting that it understands; who has accepted it says so
//   when a large message has come through the socket; who has something large for one that understands
//   passes it a memory file, and sends that message through the socket; the other has mapped it, and says so.
//
// Names: a connection is known by an id inside callbacks, since any callback may close any connection.

class ConnectionUnix final : public DirectoryTransport {
 public:
  ConnectionUnix(const JoinRequest& request, Loop& loop, Receiver& receiver);
  ~ConnectionUnix() override;

  Sent send(const Message& message, std::string& why) override;
  Sent send_in_pieces(Message& message, const wire::ContentPieces& content, std::string& why) override;
  Sent reply(Message& message, const wire::ContentPieces& content, std::string& why,
             std::uint64_t connection) override;
  Sent gather(Message& message, const wire::ContentPieces& content, std::string& why) override;
  [[nodiscard]] std::vector<Gathered> gathered() const override;
  Sent send_gathered(const std::string& peer, std::string& why) override;
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

  Sent send_written(const Message& message, const wire::Written& payload, std::string& why, Id answers = 0);
  /// `put(connection)` on the way to that peer, or on a new one if that has ended.
  template <class Put>
  Sent put_on_route(const std::string& peer, std::size_t size, std::string& why, Put&& put);
  /// The same on that connection; nullopt: it had ended.
  template <class Put>
  std::optional<Sent> put_on(Connection& connection, std::size_t size, std::string& why, Put&& put);
  [[nodiscard]] static bool has_room(const Connection& connection, std::size_t size, std::string& why);
  enum class Callers { some, all };
  void accept(Callers callers);
  void take_caller(os::UniqueFd socket);
  /// Makes room for others; false: there is none who is silent.
  bool drop_silent_caller(const std::string& why);
  Connection* connect(const std::string& peer, std::string& why);
  Connection& adopt(std::unique_ptr<Connection> connection);
  void on_ready(Id id, std::uint32_t events);
  void read(Id id, std::size_t most);
  void limit_unread();
  bool take_frame(Id id, Connection& connection, std::string_view payload);
  bool take_memory_frame(Connection& connection, const MemoryFrame& frame);
  bool map_memory(Connection& connection, std::uint64_t size);
  Connection::Flow send_large(Connection& connection, const wire::Written& payload);
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
  std::set<Id> silent_;   // callers that have not said who they are, the oldest first
  bool refuses_ = false;  // and that was reported
  Id last_id_ = 0;
  std::unordered_map<Id, std::unique_ptr<Connection>> connections_;
  std::unordered_map<std::string, Id> by_peer_;  // the one to send on
  /// Frames that are to go out together. Not part of a connection: if that ends first, they take the next
  /// one, as single messages would.
  struct Batch {
    std::string frames;
    std::size_t messages = 0;
  };
  std::unordered_map<std::string, Batch> batches_;  // by peer
  std::string spare_;                               // memory of one that was sent, for the next
  bool receiving_ = true;
  Watch rest_;
  bool rest_is_due_ = false;
};

}  // namespace ipcm::transport
