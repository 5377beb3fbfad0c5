#include "transport/connection_unix/connection_unix.h"

#include <sys/epoll.h>

#include <algorithm>
#include <new>
#include <utility>

#include "ipcm/error.h"
#include "os/events.h"
#include "os/identity.h"
#include "os/process.h"
#include "os/socket.h"
#include "os/time_limit.h"
#include "transport/connection_unix/protocol.h"
#include "wire/envelope.h"
#include "wire/json_text.h"
#include "wire/printable.h"

namespace ipcm::transport {
namespace {

/// The time that connect() waits for room in the queue of a listener, if the limit of the caller allows it.
constexpr auto kConnectTime = std::chrono::seconds(5);
/// The size at which the batch for a peer is sent.
constexpr std::size_t kLargestBatch = 64UL * 1024;
/// The bytes that are read from one connection before other callbacks of the loop run.
constexpr std::size_t kBytesPerTurn = 4UL * 1024 * 1024;

std::string framed(const std::string& payload) {
  const auto head = wire::frame_header(payload.size());
  return std::string(head.data(), head.size()) + payload;
}

}  // namespace

ConnectionUnix::ConnectionUnix(const JoinRequest& request, Loop& loop, Receiver& receiver)
    : DirectoryTransport(
          request, loop, receiver, connection_unix_protocol(),
          Route(request.info.route, {.longest_name = longest_socket_name(request.info.route),
                                     .endpoints = {os::FileKind::socket, os::FileKind::regular},
                                     .ask_endpoint = os::look_at_stream})),
      accepting_(
          loop, [this](const std::string& why) { receiver_.dropped("callers have to wait: " + why); },
          [this] { listening_.want(EPOLLIN); }) {
  if (request.anonymous) return;
  claim();
  try {
    listener_ = os::listen_at(route_.directory(), registration_.disk_name);
    reserve_ = os::make_reserve();
    listening_ = loop_.watch(listener_.get(), EPOLLIN, [this](std::uint32_t) { accept(Callers::some); });
    announce();
  } catch (...) {
    give_up_registration();
    throw;
  }
}

ConnectionUnix::~ConnectionUnix() { leave_silently(); }

Connection* ConnectionUnix::route_to(const std::string& peer) const {
  const auto id = by_peer_.find(peer);
  if (id == by_peer_.end()) return nullptr;
  const auto found = connections_.find(id->second);
  return found == connections_.end() ? nullptr : found->second.get();
}

Connection& ConnectionUnix::adopt(std::unique_ptr<Connection> connection) {
  const Id id = connection->id = ++last_id_;
  connection->watch =
      loop_.watch(connection->fd(), EPOLLIN, [this, id](std::uint32_t events) { on_ready(id, events); });
  Connection& kept = *connection;
  connections_.emplace(id, std::move(connection));
  if (!kept.peer.empty()) by_peer_[kept.peer] = id;
  if (!receiving_) want_events(kept);
  return kept;
}

Connection* ConnectionUnix::connect(const std::string& peer, std::string& why) {
  const std::string file = route_.disk_name(peer);
  switch (route_.directory().look(file).kind) {
    case os::FileKind::socket:
      break;
    case os::FileKind::none:
      why = "no such peer on the bus " + route_.directory().path();
      return nullptr;
    default:
      why = "it does not listen, and has no connection open to us";
      return nullptr;
  }
  auto socket = os::connect_to(route_.directory(), file, os::limited(kConnectTime));
  if (!socket) {
    why = "its process is gone";
    return nullptr;
  }
  // Another user's process may listen in the place of the peer.
  if (const auto identity = os::identity_of_peer(socket->get());
      !identity || !route_.directory().is_trusted_user(identity->user)) {
    why = "user " + (identity ? std::to_string(identity->user) : "?") + " listens in its place";
    return nullptr;
  }
  auto connection = std::make_unique<Connection>(
      std::move(*socket), framed(request_.serializer->write_value(wire::write_hello(request_.name))));
  connection->peer = peer;
  connection->opened_by_us = true;
  connection->told_that_we_do = true;  // in the greeting
  return &adopt(std::move(connection));
}

Transport::Identified ConnectionUnix::identify_surely(const std::string& peer) {
  Identified found = identify(peer);
  if (found.process || found.facts.is_us || found.facts.state != PeerFacts::State::active) return found;
  // A peer of the reference: it has no lock, but the kernel knows which process listens.
  Connection* connection = route_to(peer);
  std::string why;
  if (connection == nullptr || !connection->opened_by_us) connection = connect(peer, why);
  if (connection == nullptr) return found;
  found.process = os::process_of_listener(connection->fd(), route_.directory().look(route_.disk_name(peer)));
  if (!found.process) return found;
  found.facts.pid = os::pid_of(found.process.get()).value_or(0);
  found.facts.elsewhere = false;
  found.facts.is_us = found.facts.pid == os::own_pid();
  if (found.facts.is_us) found.process.reset();
  return found;
}

void ConnectionUnix::want_events(Connection& connection) {
  std::uint32_t events = 0;
  if (receiving_) events |= EPOLLIN;
  if (connection.queued_bytes() > 0) events |= EPOLLOUT;
  try {
    connection.watch.want(events);
  } catch (const SystemError& error) {
    // Without events the connection would never be served again. The caller still uses it, so it is closed
    // later.
    const std::string why = "a connection of '" + connection.peer + "' was lost: " + error.what();
    connection.greeting_deadline =
        loop_.at(os::Clock::now(), [this, id = connection.id, why] { close(id, why); });
  }
}

Transport::Sent ConnectionUnix::send(const Message& message, std::string& why) {
  return send_written(
      message, request_.serializer->write_in_pieces(message, wire::ContentPieces::of(message.content)), why);
}

Transport::Sent ConnectionUnix::send_in_pieces(Message& message, const wire::ContentPieces& content,
                                               std::string& why) {
  return send_written(message, request_.serializer->write_in_pieces(message, content), why);
}

Transport::Sent ConnectionUnix::reply(Message& message, const wire::ContentPieces& content, std::string& why,
                                      std::uint64_t connection) {
  return send_written(message, request_.serializer->write_in_pieces(message, content), why, connection);
}

Transport::Sent ConnectionUnix::send_written(const Message& message, const wire::Written& payload,
                                             std::string& why, Id answers) {
  if (payload.size() > wire::kLargestFrame)
    throw ProtocolError("a message of " + std::to_string(payload.size()) + " bytes to '" + message.to +
                        "' is larger than the limit of " + std::to_string(wire::kLargestFrame));
  const bool is_large = Connection::large_part(payload).size() >= kSmallestInMemory;
  const auto put = [&](Connection& connection) {
    return is_large ? send_large(connection, payload) : connection.send(payload);
  };
  if (const auto asked_on = answers == 0 ? connections_.end() : connections_.find(answers);
      asked_on != connections_.end())
    if (const auto sent = put_on(*asked_on->second, payload.size(), why, put)) return *sent;
  return put_on_route(message.to, payload.size(), why, put);
}

bool ConnectionUnix::has_room(const Connection& connection, std::size_t size, std::string& why) {
  if (connection.queued_bytes() == 0 || connection.queued_bytes() + size <= kLargestQueue) return true;
  why = "it does not read: " + std::to_string(connection.queued_messages()) + " messages, " +
        std::to_string(connection.queued_bytes()) + " bytes wait for it already";
  return false;
}

template <class Put>
Transport::Sent ConnectionUnix::put_on_route(const std::string& peer, std::size_t size, std::string& why,
                                             Put&& put) {
  // Only sending shows that the peer has closed a connection. Then a new one is tried, since the peer may
  // have a successor of its name.
  for (bool fresh = false; !fresh;) {
    Connection* connection = route_to(peer);
    fresh = connection == nullptr;
    if (fresh) connection = connect(peer, why);
    if (connection == nullptr) return Sent::gone;
    if (const auto sent = put_on(*connection, size, why, put)) return *sent;
  }
  why = "it closes every connection";
  return Sent::gone;
}

template <class Put>
std::optional<Transport::Sent> ConnectionUnix::put_on(Connection& connection, std::size_t size,
                                                      std::string& why, Put&& put) {
  if (!has_room(connection, size, why)) return Sent::full;
  const bool waited = connection.queued_bytes() > 0;
  const Id id = last_link_ = connection.id;
  auto flow = Connection::Flow::closed;
  try {
    flow = put(connection);
  } catch (const SystemError&) {
    close(id, "");  // it is unknown how much of the message, or the greeting, was sent
    throw;
  }
  if (flow == Connection::Flow::open) {
    if (!waited && connection.queued_bytes() > 0) want_events(connection);
    return connection.queued_bytes() > 0 ? Sent::queued : Sent::done;
  }
  read(id, 0);  // the messages that it sent before it left
  close(id, "");
  return std::nullopt;
}

Transport::Sent ConnectionUnix::gather(Message& message, const wire::ContentPieces& content,
                                       std::string& why) {
  auto found = batches_.find(message.to);
  if (found == batches_.end()) {
    // Report a peer that is absent, or does not read, now: as without a batch.
    const Connection* connection = route_to(message.to);
    if (connection == nullptr) connection = connect(message.to, why);
    if (connection == nullptr) return Sent::gone;
    if (!has_room(*connection, kLargestBatch, why)) return Sent::full;
    found = batches_.emplace(message.to, Batch{std::exchange(spare_, {}), 0}).first;
  }
  Batch& batch = found->second;
  const std::size_t begin = batch.frames.size();
  batch.frames.append(wire::kFrameHeader, '\0');
  try {
    request_.serializer->append(batch.frames, message, content);
  } catch (...) {
    batch.frames.resize(begin);  // a name in it cannot be written
    throw;
  }
  const auto header = wire::frame_header(batch.frames.size() - begin - wire::kFrameHeader);
  std::copy(header.begin(), header.end(), batch.frames.begin() + static_cast<std::ptrdiff_t>(begin));
  ++batch.messages;
  return batch.frames.size() < kLargestBatch ? Sent::gathered : Sent::ripe;
}

std::vector<Transport::Gathered> ConnectionUnix::gathered() const {
  std::vector<Gathered> all;
  for (const auto& [peer, batch] : batches_)
    if (batch.messages > 0) all.push_back({peer, batch.messages});
  return all;
}

Transport::Sent ConnectionUnix::send_gathered(const std::string& peer, std::string& why) {
  auto taken = batches_.extract(peer);
  if (taken.empty()) return Sent::done;
  Batch& batch = taken.mapped();
  // The queue had room when the batch was begun.
  const Sent sent = put_on_route(peer, 0, why, [&](Connection& connection) {
    return connection.send_frames(batch.frames, batch.messages);
  });
  batch.frames.clear();
  spare_ = std::move(batch.frames);
  return sent;
}

void ConnectionUnix::on_ready(Id id, std::uint32_t events) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  Connection& connection = *found->second;
  if ((events & EPOLLOUT) != 0) {
    try {
      if (connection.flush() == Connection::Flow::closed) {
        read(id, 0);
        close(id, "");
        return;
      }
    } catch (const SystemError& error) {
      close(id, "the connection of '" + connection.peer + "' was lost: " + error.what());
      return;
    }
    if (connection.queued_bytes() == 0) want_events(connection);
  }
  // Another connection may have used up the room in this turn of the loop.
  if (receiving_ && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) read(id, kBytesPerTurn);
}

void ConnectionUnix::read(Id id, std::size_t most) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  Connection& connection = *found->second;
  const auto who = [&connection] {
    return connection.peer.empty() ? "a caller" : "'" + wire::printable_name(connection.peer) + "'";
  };
  auto flow = Connection::Flow::open;
  bool no_memory = false;
  const auto take = [&](std::string_view payload) {
    try {
      return take_frame(id, connection, payload);
    } catch (const std::bad_alloc&) {
      no_memory = true;  // the message is lost; closing the connection shows that to its sender
      return false;
    }
  };
  try {
    flow = connection.receive(most, take);
  } catch (const SystemError& error) {
    close(id, "the connection of " + who() + " was lost: " + error.what());
    return;
  }
  switch (flow) {
    case Connection::Flow::open:
      connection.unread.count(connection.held());
      if (connection.unread.bytes() > 0 && UnreadInput::is_too_much()) limit_unread();
      return;
    case Connection::Flow::closed:
      close(id, connection.in_mid_frame() ? who() + " closed its connection in the middle of a message" : "");
      return;
    case Connection::Flow::garbage:
      close(id, no_memory ? who() + " was cut off: no memory is left for its message"
                : connection.announced() > wire::kLargestFrame
                    ? who() + " announced a message of " + std::to_string(connection.announced()) +
                          " bytes, beyond the limit of " + std::to_string(wire::kLargestFrame) +
                          ", and was cut off"
                    : who() + " was cut off: what it sent can't be read");
      return;
  }
}

bool ConnectionUnix::take_frame(Id id, Connection& connection, std::string_view payload) {
  // A peer that has passed a file is told that it was mapped, even if no large message came from it before.
  if ((connection.told_that_we_do || connection.writer) && payload.starts_with(kMemoryMark)) {
    try {
      const auto frame = read_memory_frame(payload);
      return frame && take_memory_frame(connection, *frame);
    } catch (const ProtocolError& error) {
      receiver_.dropped("shared memory of '" + wire::printable_name(connection.peer) + "': " + error.what());
      return false;
    }
  }
  if (payload.size() >= kSmallestInMemory && connection.peer_understands && !connection.told_that_we_do) {
    // Only now: the peer sends no such frame before it has read this.
    connection.told_that_we_do = connection.tell({.kind = MemoryFrame::Kind::understood});
    want_events(connection);
  }
  if (connection.peer.empty()) {
    try {
      greeted(id, connection, wire::read_hello(request_.serializer->read_value(payload)));
    } catch (const ProtocolError& error) {
      receiver_.dropped(std::string("a caller did not greet: ") + error.what());
      return false;
    }
    return true;
  }
  try {
    wire::Heard heard = request_.serializer->hear(payload, request_.name);
    heard.connection = id;
    receiver_.heard(std::move(heard));
    return true;
  } catch (const ProtocolError& error) {
    if (is_late_greeting(payload)) return true;
    receiver_.dropped("a message on the connection of '" + wire::printable_name(connection.peer) +
                      "' was dropped: " + error.what());
    // Bytes that are no JSON come from a peer that does not speak this protocol; an incomplete message
    // comes from one that does.
    return request_.serializer->is_spoken(payload);
  }
}

void ConnectionUnix::close(Id id, const std::string& why) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  const std::unique_ptr<Connection> connection = std::move(found->second);
  connections_.erase(found);
  silent_.erase(id);
  connection->watch.stop();
  if (!why.empty()) receiver_.dropped(why);
  if (connection->queued_messages() > 0)
    receiver_.undelivered(connection->peer, connection->queued_messages(), "it closed the connection");
  if (connection->peer.empty()) return;
  const auto at = by_peer_.find(connection->peer);
  if (at != by_peer_.end() && at->second == id) {
    by_peer_.erase(at);
    for (const auto& [other, open] : connections_)
      if (open->peer == connection->peer) by_peer_[connection->peer] = other;
  }
  receiver_.connection_lost(connection->peer, id);
}

std::size_t ConnectionUnix::queued_bytes(const std::string& peer) const {
  const Connection* connection = route_to(peer);
  return connection == nullptr ? 0 : connection->queued_bytes();
}

std::size_t ConnectionUnix::queued_messages() const {
  std::size_t all = 0;
  for (const auto& [id, connection] : connections_) all += connection->queued_messages();
  return all;
}

void ConnectionUnix::abandon(const std::string& peer) {
  const auto id = by_peer_.find(peer);
  if (id != by_peer_.end()) close(id->second, "");
}

void ConnectionUnix::abandon_asker(const std::string& peer, std::uint64_t connection) {
  if (connections_.contains(connection))
    close(connection, "");
  else
    abandon(peer);
}

void ConnectionUnix::drain() {
  (void)deliver_requeued();
  if (listener_) accept(Callers::all);
  std::vector<Id> ids;
  for (const auto& [id, connection] : connections_) ids.push_back(id);
  for (const Id id : ids) read(id, 0);
}

void ConnectionUnix::receive(bool on) {
  if (receiving_ == on) return;
  receiving_ = on;
  for (const auto& [id, connection] : connections_) want_events(*connection);  // closes none
}

void ConnectionUnix::stop_listening() {
  listening_.stop();
  listener_.reset();
}

void ConnectionUnix::close_links() {
  connections_.clear();
  silent_.clear();
  by_peer_.clear();
}

const Protocol& connection_unix_protocol() {
  static const DirectoryProtocolOf<ConnectionUnix> protocol(
      {.name = "ConnectionUnix",
       .summary = "stream sockets in a directory; fast, no broker",
       .keeps_messages = false,
       .endpoints = {os::FileKind::socket, os::FileKind::regular}});
  return protocol;
}

}  // namespace ipcm::transport
