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

/// The bytes that are read from one connection before other callbacks of the loop run.
constexpr std::size_t kBytesPerTurn = 4UL * 1024 * 1024;

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
  UnreadInput::check_limit();
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
    wire::IncomingMessage incoming = request_.serializer->decode(payload, request_.name);
    incoming.connection = id;
    receiver_.incoming(std::move(incoming));
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
