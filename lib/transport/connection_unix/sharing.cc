// ConnectionUnix: agrees with a peer on shared memory, and sends and receives messages in it.

#include <algorithm>
#include <utility>

#include "ipcm/error.h"
#include "os/clock.h"
#include "transport/connection_unix/connection_unix.h"
#include "wire/printable.h"

namespace ipcm::transport {
namespace {

/// The time without a large message after which shared memory is given back to the system.
constexpr auto kRest = std::chrono::seconds(1);
constexpr auto kLongestRest = std::chrono::hours(1);

}  // namespace

Connection::Flow ConnectionUnix::send_large(Connection& connection, const wire::EncodedMessage& payload) {
  if (const auto sent = connection.send_in_memory(payload)) {
    if (!rest_is_due_) rest_after(kRest);
    return *sent;
  }
  if (connection.peer_understands && !connection.writer) {
    try {
      MemoryWriter writer;
      if (connection.tell({.kind = MemoryFrame::Kind::file, .size = kSharedMemory}, writer.file()))
        connection.writer = std::move(writer);
    } catch (const SystemError&) {  // no descriptor or memory is free: the socket does as well
    }
  }
  return connection.send(payload);
}

void ConnectionUnix::rest_after(Duration time) {
  rest_is_due_ = true;
  rest_ = loop_.at(os::from_now(time), [this, time] {
    rest_is_due_ = false;
    bool used = false, unread = false;
    for (const auto& [id, connection] : connections_) {
      if (!connection->writer) continue;
      const auto rest = connection->writer->rest();
      used |= rest == MemoryWriter::Rest::used;
      unread |= rest == MemoryWriter::Rest::unread;
    }
    // Checks a stalled reader at growing intervals.
    if (used || unread) rest_after(used ? kRest : std::min<Duration>(2 * time, kLongestRest));
  });
}

bool ConnectionUnix::take_memory_frame(Connection& connection, const MemoryFrame& frame) {
  switch (frame.kind) {
    case MemoryFrame::Kind::understood:
      connection.peer_understands = true;
      return true;
    case MemoryFrame::Kind::file:
      return map_memory(connection, frame.size);
    case MemoryFrame::Kind::mapped:
      if (!connection.writer) throw ProtocolError("it has mapped what it was not given");
      connection.writer_is_mapped = true;
      return true;
    case MemoryFrame::Kind::message:
      break;
  }
  if (!connection.reader) throw ProtocolError("a message in a memory file that it has not shared");
  wire::Body body = connection.reader->take({frame.offset, frame.size});
  if (frame.head.size() + body.bytes.size() + frame.tail.size() > wire::kLargestFrame)
    throw ProtocolError("a message beyond the limit of " + std::to_string(wire::kLargestFrame) + " bytes");
  try {
    wire::IncomingMessage incoming =
        request_.serializer->decode_slices(frame.head, std::move(body), frame.tail, request_.name);
    incoming.connection = connection.id;
    receiver_.incoming(std::move(incoming));
    return true;
  } catch (const ProtocolError& error) {
    receiver_.dropped("a message of '" + wire::printable_name(connection.peer) +
                      "' in shared memory was dropped: " + error.what());
    return true;
  }
}

bool ConnectionUnix::map_memory(Connection& connection, std::uint64_t size) {
  if (connection.reader) throw ProtocolError("a second memory file");
  os::Passed passed = std::exchange(connection.passed, {});
  if (passed.lost)
    return true;  // no free descriptor here: the peer gets no answer, and goes on through the socket
  if (!passed.descriptor) throw ProtocolError("a memory file was announced, and none came");
  try {
    connection.reader.emplace(std::move(passed.descriptor), size);
  } catch (const SystemError&) {
    return true;  // no room: as above
  }
  (void)connection.tell({.kind = MemoryFrame::Kind::mapped});
  want_events(connection);
  return true;
}

}  // namespace ipcm::transport
