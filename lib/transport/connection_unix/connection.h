#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "loop/loop.h"
#include "os/descriptor.h"
#include "os/socket.h"
#include "transport/connection_unix/memory_frame.h"
#include "transport/connection_unix/shared_memory.h"
#include "transport/unread_input.h"
#include "wire/content_slices.h"
#include "wire/frame.h"

namespace ipcm::transport {

/// One open stream: it receives frames, and sends or queues them.
class Connection {
 public:
  enum class Flow {
    open,
    closed,   ///< the peer is gone; everything that it had sent has been read
    garbage,  ///< the peer announces a frame above the limit
  };
  /// `greeting`: the first frame, which is sent together with the first message; empty for accepted
  /// connections.
  Connection(os::UniqueFd socket, std::string greeting)
      : socket_(std::move(socket)), greeting_(std::move(greeting)) {}

  /// Sends a message, and queues the part that the kernel does not take. closed: nothing was sent.
  [[nodiscard]] Flow send(const wire::EncodedMessage& payload);
  /// Sends several messages that are already framed.
  [[nodiscard]] Flow send_frames(std::string_view frames, std::size_t messages);
  /// Returns the part of a message that can be in shared memory: some serializers write a message in one
  /// piece.
  [[nodiscard]] static std::string_view large_part(const wire::EncodedMessage& payload) {
    return payload.body.empty() ? std::string_view(payload.head) : payload.body;
  }
  /// Sends a message through memory that the peer has mapped. nullopt: it has to go through the socket.
  [[nodiscard]] std::optional<Flow> send_in_memory(const wire::EncodedMessage& payload);
  /// Sends a frame about shared memory, with a descriptor (-1: none). false: no descriptor can be passed
  /// now, since the queue has to be sent first. Other failures show at the next message.
  bool tell(const MemoryFrame& frame, int descriptor = -1);
  /// Sends from the queue.
  [[nodiscard]] Flow flush();
  /// The queued bytes. They include messages in shared memory whose place the peer does not know yet.
  [[nodiscard]] std::size_t queued_bytes() const { return queued_bytes_; }
  /// The queued messages. Messages that were sent together count until all of them are sent.
  [[nodiscard]] std::size_t queued_messages() const { return queued_messages_; }

  /// Reads at most about `most` bytes; 0: all that is there now, but not what a fast sender adds meanwhile.
  /// Calls `frame(payload)` for each whole frame; false from it ends the reading.
  template <class Frame>
  [[nodiscard]] Flow receive(std::size_t most, Frame&& frame) {
    constexpr std::size_t kSmallPiece = 64UL * 1024, kLargePiece = 1024UL * 1024;
    for (std::size_t total = 0; most == 0 || total < most;) {
      // A large frame is read in large pieces, straight to where it will stand.
      std::size_t got = 0;
      const auto result = read_piece(reader_.announced() > kSmallPiece ? kLargePiece : kSmallPiece, got);
      if (result == Piece::later) return Flow::open;
      if (result == Piece::end) return Flow::closed;
      total += got;
      if (most == 0) most = total + waiting(result) + 1;  // one more: to see that nothing is left
      std::string_view payload;
      for (;;) {
        const auto next = reader_.next(payload);
        if (next == wire::FrameReader::Next::too_large) return Flow::garbage;
        if (next == wire::FrameReader::Next::more) break;
        if (!frame(payload)) return Flow::garbage;
      }
      if (told_that_we_do && !reader_.in_mid_frame()) passed = {};  // no frame refers to it
      if (result == Piece::last) return Flow::open;
    }
    return Flow::open;
  }
  [[nodiscard]] bool in_mid_frame() const { return reader_.in_mid_frame(); }
  [[nodiscard]] std::size_t announced() const { return reader_.announced(); }
  [[nodiscard]] std::size_t held() const { return reader_.held(); }
  [[nodiscard]] int fd() const { return socket_.get(); }

 private:
  Flow send_pieces(std::span<const std::string_view> pieces, std::size_t messages, std::size_t in_memory);
  enum class Piece { some, last, later, end };
  /// The bytes that wait in the socket after a piece was read.
  [[nodiscard]] std::size_t waiting(Piece piece) const;
  Piece read_piece(std::size_t least, std::size_t& got);
  /// Sends a frame with this payload; `in_memory`: the bytes in shared memory that it refers to.
  Flow send_frame(std::string_view head, std::string_view body, std::string_view tail, std::size_t in_memory);

  struct Queued {
    std::string bytes;
    std::size_t messages = 0;   // messages that end with these bytes
    std::size_t in_memory = 0;  // bytes in shared memory that they refer to
  };
  os::UniqueFd socket_;
  std::string greeting_;
  wire::FrameReader reader_;
  std::deque<Queued> queue_;
  std::size_t front_sent_ = 0;  // of the queue's first
  std::size_t queued_bytes_ = 0, queued_messages_ = 0;

 public:
  std::uint64_t id = 0;  ///< Never reused.
  std::string peer;      ///< Empty: it has not greeted.
  UnreadInput unread;    ///< The bytes of its incomplete message.
  bool opened_by_us = false;

  // Shared memory: the state of the agreement, for each direction.
  bool peer_understands = false;       ///< It supports shared memory: it has said so.
  bool told_that_we_do = false;        ///< We have said so: descriptors may come.
  os::Passed passed;                   ///< The descriptor that came last.
  std::optional<MemoryWriter> writer;  ///< The peer has been passed its file.
  bool writer_is_mapped = false;       ///< The peer has mapped it.
  std::optional<MemoryReader> reader;

  Watch watch;  // declared after the socket: it must end first
  Watch greeting_deadline;
};

}  // namespace ipcm::transport
