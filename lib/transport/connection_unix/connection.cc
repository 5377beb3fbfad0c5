#include "transport/connection_unix/connection.h"

#include "os/socket.h"

namespace ipcm::transport {

Connection::Flow Connection::send(std::string_view payload) {
  const auto length = wire::frame_header(payload.size());
  std::string head = std::move(greeting_);
  greeting_.clear();
  head.append(length.data(), length.size());
  std::size_t sent = 0;
  if (queue_.empty()) {
    const auto result = os::send_some(socket_.get(), head, payload, &sent);
    if (result == os::SendResult::closed) return Flow::closed;
    if (sent == head.size() + payload.size()) return Flow::open;
  }
  head.append(payload);
  queued_bytes_ += head.size() - sent;
  if (queue_.empty()) front_sent_ = sent;
  queue_.push_back(std::move(head));
  return Flow::open;
}

Connection::Flow Connection::flush() {
  while (!queue_.empty()) {
    std::size_t sent = 0;
    const auto result =
        os::send_some(socket_.get(), std::string_view(queue_.front()).substr(front_sent_), &sent);
    if (result == os::SendResult::closed) return Flow::closed;
    if (result == os::SendResult::later) return Flow::open;
    front_sent_ += sent;
    queued_bytes_ -= sent;
    if (front_sent_ == queue_.front().size()) {
      queue_.pop_front();
      front_sent_ = 0;
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

}  // namespace ipcm::transport
