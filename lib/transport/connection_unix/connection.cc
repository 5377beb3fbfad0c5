#include "transport/connection_unix/connection.h"

#include <algorithm>
#include <array>
#include <utility>

#include "ipcm/error.h"
#include "os/socket.h"

namespace ipcm::transport {

Connection::Flow Connection::send(const wire::EncodedMessage& payload) {
  return send_frame(payload.head, payload.body, payload.tail, 0);
}

std::optional<Connection::Flow> Connection::send_in_memory(const wire::EncodedMessage& payload) {
  if (!writer || !writer_is_mapped) return std::nullopt;
  // Some serializers write a message in one piece.
  const bool is_whole = payload.body.empty();
  const std::string_view body = is_whole ? std::string_view(payload.head) : payload.body;
  const auto place = writer->put(body);
  if (!place) return std::nullopt;
  const std::string note = write_memory_frame(
      {MemoryFrame::Kind::message, place->offset, place->size, is_whole ? std::string_view() : payload.head});
  return send_frame(note, {}, payload.tail, body.size());
}

bool Connection::tell(const MemoryFrame& frame, int descriptor) {
  const std::string payload = write_memory_frame(frame);
  const auto length = wire::frame_header(payload.size());
  std::string bytes = std::string(length.data(), length.size()) + payload;
  std::size_t sent = 0;
  if (queue_.empty() && greeting_.empty()) {
    try {
      if ((descriptor < 0 ? os::send_some(socket_.get(), bytes, &sent)
                          : os::send_some(socket_.get(), bytes, descriptor, &sent)) == os::SendResult::closed)
        return false;
    } catch (const SystemError&) {  // too many descriptors under way, say
    }
  }
  if (sent == bytes.size()) return true;
  if (sent == 0 && descriptor >= 0) return false;  // the descriptor would have to wait too
  bytes.erase(0, sent);
  queued_bytes_ += bytes.size();
  queue_.push_back({std::move(bytes)});
  return true;
}

Connection::Flow Connection::send_frame(std::string_view head, std::string_view body, std::string_view tail,
                                        std::size_t in_memory) {
  const auto length = wire::frame_header(head.size() + body.size() + tail.size());
  const std::string greeting = std::exchange(greeting_, {});
  const std::array<std::string_view, 5> pieces{greeting, std::string_view(length.data(), length.size()), head,
                                               body, tail};
  return send_pieces(pieces, 1, in_memory);
}

Connection::Flow Connection::send_frames(std::string_view frames, std::size_t messages) {
  const std::string greeting = std::exchange(greeting_, {});
  const std::array<std::string_view, 2> pieces{greeting, frames};
  return send_pieces(pieces, messages, 0);
}

Connection::Flow Connection::send_pieces(std::span<const std::string_view> pieces, std::size_t messages,
                                         std::size_t in_memory) {
  std::size_t size = 0;
  for (const std::string_view piece : pieces) size += piece.size();
  std::size_t sent = 0;
  if (queue_.empty()) {
    const auto result = os::send_some(socket_.get(), pieces, &sent);
    if (result == os::SendResult::closed) return Flow::closed;
    if (sent == size) return Flow::open;
  }
  std::string rest;
  rest.reserve(size - sent);
  std::size_t skip = sent;
  for (const std::string_view piece : pieces) {
    rest.append(piece.substr(std::min(skip, piece.size())));
    skip -= std::min(skip, piece.size());
  }
  queued_bytes_ += rest.size() + in_memory;
  queued_messages_ += messages;
  queue_.push_back({std::move(rest), messages, in_memory});
  return Flow::open;
}

Connection::Flow Connection::flush() {
  while (!queue_.empty()) {
    std::array<std::string_view, os::kMostPieces> pieces;
    std::size_t count = 0;
    for (auto waiting = queue_.begin(); waiting != queue_.end() && count < pieces.size(); ++waiting)
      pieces[count++] = waiting->bytes;
    pieces[0].remove_prefix(front_sent_);
    std::size_t sent = 0;
    const auto result =
        os::send_some(socket_.get(), std::span<const std::string_view>(pieces).first(count), &sent);
    if (result == os::SendResult::closed) return Flow::closed;
    if (result == os::SendResult::later) return Flow::open;
    queued_bytes_ -= sent;
    front_sent_ += sent;
    while (!queue_.empty() && front_sent_ >= queue_.front().bytes.size()) {
      front_sent_ -= queue_.front().bytes.size();
      queued_bytes_ -= queue_.front().in_memory;
      queued_messages_ -= queue_.front().messages;
      queue_.pop_front();
    }
  }
  return Flow::open;
}

Connection::Piece Connection::read_piece(std::size_t least, std::size_t& got) {
  const auto room = reader_.room(least);
  const auto result = told_that_we_do ? os::receive_some(socket_.get(), room, &got, passed)
                                      : os::receive_some(socket_.get(), room, &got);
  switch (result) {
    case os::ReadResult::later:
      return Piece::later;
    case os::ReadResult::end:
      return Piece::end;
    case os::ReadResult::some:
      break;
  }
  reader_.filled(got);
  // A read ends with the bytes that came with a descriptor, whatever follows them.
  const bool ended_early = passed.descriptor || passed.lost;
  return got < room.size() && !ended_early ? Piece::last : Piece::some;
}

std::size_t Connection::waiting(Piece piece) const {
  return piece == Piece::last ? 0 : os::bytes_waiting(socket_.get());
}

}  // namespace ipcm::transport
