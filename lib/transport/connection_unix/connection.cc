#include "transport/connection_unix/connection.h"

#include <algorithm>
#include <array>
#include <utility>

#include "os/socket.h"

namespace ipcm::transport {

Connection::Flow Connection::send(const wire::Written& payload) {
  const auto length = wire::frame_header(payload.size());
  const std::string greeting = std::exchange(greeting_, {});
  const std::array<std::string_view, 5> pieces{greeting, std::string_view(length.data(), length.size()),
                                               payload.head, payload.body, payload.tail};
  return send_pieces(pieces, 1);
}

Connection::Flow Connection::send_frames(std::string_view frames, std::size_t messages) {
  const std::string greeting = std::exchange(greeting_, {});
  const std::array<std::string_view, 2> pieces{greeting, frames};
  return send_pieces(pieces, messages);
}

Connection::Flow Connection::send_pieces(std::span<const std::string_view> pieces, std::size_t messages) {
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
  queued_bytes_ += rest.size();
  queued_messages_ += messages;
  queue_.push_back({std::move(rest), messages});
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
      queued_messages_ -= queue_.front().messages;
      queue_.pop_front();
    }
  }
  return Flow::open;
}

Connection::Piece Connection::read_piece(std::size_t least, std::size_t& got) {
  const auto room = reader_.room(least);
  switch (os::receive_some(socket_.get(), room, &got)) {
    case os::ReadResult::later:
      return Piece::later;
    case os::ReadResult::end:
      return Piece::end;
    case os::ReadResult::some:
      break;
  }
  reader_.filled(got);
  return got < room.size() ? Piece::last : Piece::some;
}

std::size_t Connection::waiting(Piece piece) const {
  return piece == Piece::last ? 0 : os::bytes_waiting(socket_.get());
}

}  // namespace ipcm::transport
