// ConnectionUnix: connects to peers, sends to them, one message at a time or in batches, and gives up their
// queues.
#include <algorithm>
#include <utility>

#include "ipcm/error.h"
#include "os/identity.h"
#include "os/process.h"
#include "os/socket.h"
#include "os/time_limit.h"
#include "transport/connection_unix/connection_unix.h"
#include "wire/envelope.h"

namespace ipcm::transport {
namespace {

/// The time that connect() waits for room in the queue of a listener, if the limit of the caller allows it.
constexpr auto kConnectTime = std::chrono::seconds(5);
/// The size at which the batch for a peer is sent.
constexpr std::size_t kLargestBatch = 64UL * 1024;

std::string framed(const std::string& payload) {
  const auto head = wire::frame_header(payload.size());
  return std::string(head.data(), head.size()) + payload;
}

}  // namespace

ConnectionUnix::Connected ConnectionUnix::connect(const std::string& peer) {
  const std::string file = route_.disk_name(peer);
  switch (route_.directory().look(file).kind) {
    case os::FileKind::socket:
      break;
    case os::FileKind::none:
      return {nullptr, "no such peer on the bus " + route_.directory().path()};
    default:
      return {nullptr, "it does not listen, and has no connection open to us"};
  }
  auto socket = os::connect_to(route_.directory(), file, os::limited(kConnectTime));
  if (!socket) return {nullptr, "its process is gone"};
  // Another user's process may listen in the place of the peer.
  if (const auto identity = os::identity_of_peer(socket->get());
      !identity || !route_.directory().is_trusted_user(identity->user)) {
    return {nullptr, "user " + (identity ? std::to_string(identity->user) : "?") + " listens in its place"};
  }
  auto connection = std::make_unique<Connection>(
      std::move(*socket), framed(request_.serializer->write_value(wire::write_hello(request_.name))));
  connection->peer = peer;
  connection->opened_by_us = true;
  connection->told_that_we_do = true;  // in the greeting
  return {&adopt(std::move(connection))};
}

Transport::Identified ConnectionUnix::identify_surely(const std::string& peer) {
  Identified found = identify(peer);
  if (found.process || found.facts.is_us || found.facts.state != PeerFacts::State::active) return found;
  // A peer of the reference: it has no lock, but the kernel knows which process listens.
  Connection* connection = route_to(peer);
  if (connection == nullptr || !connection->opened_by_us) connection = connect(peer).connection;
  if (connection == nullptr) return found;
  found.process = os::process_of_listener(connection->fd(), route_.directory().look(route_.disk_name(peer)));
  if (!found.process) return found;
  found.facts.pid = os::pid_of(found.process.get()).value_or(0);
  found.facts.elsewhere = false;
  found.facts.is_us = found.facts.pid == os::own_pid();
  if (found.facts.is_us) found.process.reset();
  return found;
}

Transport::SendResult ConnectionUnix::send(const Message& message) {
  return send_encoded(message,
                      request_.serializer->write_slices(message, wire::ContentSlices::of(message.content)));
}

Transport::SendResult ConnectionUnix::send_slices(Message& message, const wire::ContentSlices& content) {
  return send_encoded(message, request_.serializer->write_slices(message, content));
}

Transport::SendResult ConnectionUnix::reply(Message& message, const wire::ContentSlices& content,
                                            std::uint64_t connection) {
  return send_encoded(message, request_.serializer->write_slices(message, content), connection);
}

Transport::SendResult ConnectionUnix::send_encoded(const Message& message,
                                                   const wire::EncodedMessage& payload, Id answers) {
  if (payload.size() > wire::kLargestFrame)
    throw ProtocolError("a message of " + std::to_string(payload.size()) + " bytes to '" + message.to +
                        "' is larger than the limit of " + std::to_string(wire::kLargestFrame));
  const bool is_large = Connection::large_part(payload).size() >= kSmallestInMemory;
  const auto put = [&](Connection& connection) {
    return is_large ? send_large(connection, payload) : connection.send(payload);
  };
  if (const auto asked_on = answers == 0 ? connections_.end() : connections_.find(answers);
      asked_on != connections_.end())
    if (auto result = put_on(*asked_on->second, payload.size(), put)) return std::move(*result);
  return put_on_route(message.to, payload.size(), put);
}

std::string ConnectionUnix::why_full(const Connection& connection, std::size_t size) {
  if (connection.queued_bytes() == 0 || connection.queued_bytes() + size <= kLargestQueue) return {};
  return "it does not read: " + std::to_string(connection.queued_messages()) + " messages, " +
         std::to_string(connection.queued_bytes()) + " bytes wait for it already";
}

template <class Put>
Transport::SendResult ConnectionUnix::put_on_route(const std::string& peer, std::size_t size, Put&& put) {
  // Only sending shows that the peer has closed a connection. Then a new one is tried, since the peer may
  // have a successor of its name.
  for (bool fresh = false; !fresh;) {
    Connected to{route_to(peer)};
    fresh = to.connection == nullptr;
    if (fresh) to = connect(peer);
    if (to.connection == nullptr) return {Sent::gone, std::move(to.why)};
    if (auto result = put_on(*to.connection, size, put)) return std::move(*result);
  }
  return {Sent::gone, "it closes every connection"};
}

template <class Put>
std::optional<Transport::SendResult> ConnectionUnix::put_on(Connection& connection, std::size_t size,
                                                            Put&& put) {
  if (std::string why = why_full(connection, size); !why.empty())
    return SendResult{Sent::full, std::move(why)};
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
    return SendResult{connection.queued_bytes() > 0 ? Sent::queued : Sent::done};
  }
  read(id, 0);  // the messages that it sent before it left
  close(id, "");
  return std::nullopt;
}

Transport::SendResult ConnectionUnix::gather(Message& message, const wire::ContentSlices& content) {
  auto found = batches_.find(message.to);
  if (found == batches_.end()) {
    // Report a peer that is absent, or does not read, now: as without a batch.
    Connected to{route_to(message.to)};
    if (to.connection == nullptr) to = connect(message.to);
    if (to.connection == nullptr) return {Sent::gone, std::move(to.why)};
    if (std::string why = why_full(*to.connection, kLargestBatch); !why.empty())
      return {Sent::full, std::move(why)};
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

Transport::SendResult ConnectionUnix::send_gathered(const std::string& peer) {
  auto taken = batches_.extract(peer);
  if (taken.empty()) return Sent::done;
  Batch& batch = taken.mapped();
  // The queue had room when the batch was begun.
  SendResult result = put_on_route(
      peer, 0, [&](Connection& connection) { return connection.send_frames(batch.frames, batch.messages); });
  batch.frames.clear();
  spare_ = std::move(batch.frames);
  return result;
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

}  // namespace ipcm::transport
