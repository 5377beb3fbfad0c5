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
#include "wire/frame.h"
#include "wire/pieces.h"

namespace ipcm::transport {

/// One open stream: frames in, frames out, and what is on its way.
class Connection {
 public:
  enum class Flow {
    open,
    closed,   ///< the other side is gone; all it had sent has been read
    garbage,  ///< it announces a frame beyond the limit
  };
  /// `greeting` goes out as the first frame, with whatever is sent first; empty for accepted connections.
  Connection(os::UniqueFd socket, std::string greeting)
      : socket_(std::move(socket)), greeting_(std::move(greeting)) {}

  /// Sends, or queues what the kernel does not take. closed: nothing of it went out.
  [[nodiscard]] Flow send(const wire::Written& payload);
  /// The same of several messages that are frames already.
  [[nodiscard]] Flow send_frames(std::string_view frames, std::size_t messages);
  /// What of a message can be in shared memory: some serializers write it in one piece.
  [[nodiscard]] static std::string_view large_part(const wire::Written& payload) {
    return payload.body.empty() ? std::string_view(payload.head) : payload.body;
  }
  /// The same through memory that the peer has mapped. nullopt: it has to go through the socket.
  [[nodiscard]] std::optional<Flow> send_in_memory(const wire::Written& payload);
  /// Tells the peer something about shared memory, and passes it a descriptor (-1: none). false: a descriptor
  /// can't be passed now, since what waits in the queue has to go first. What goes wrong otherwise shows with
  /// the next message.
  bool tell(const MemoryFrame& frame, int descriptor = -1);
  /// Sends on from the queue.
  [[nodiscard]] Flow flush();
  /// What stands in shared memory counts, while the peer has not been told where.
  [[nodiscard]] std::size_t queued_bytes() const { return queued_bytes_; }
  /// Those that were sent as one count until all of them are out.
  [[nodiscard]] std::size_t queued_messages() const { return queued_messages_; }

  /// Reads at most about `most` bytes; 0: all that is there now, and not what a quick sender adds meanwhile.
  /// Calls `frame(payload)` for each whole frame; false from it ends the reading.
  template <class Frame>
  [[nodiscard]] Flow receive(std::size_t most, Frame&& frame) {
    constexpr std::size_t kPiece = 64UL * 1024, kLargePiece = 1024UL * 1024;
    for (std::size_t total = 0; most == 0 || total < most;) {
      // A large frame is read in large pieces, straight to where it will stand.
      std::size_t got = 0;
      const auto result = read_piece(reader_.announced() > kPiece ? kLargePiece : kPiece, got);
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
      if (told_that_we_do && !reader_.in_mid_frame()) passed = {};  // nobody has asked for it
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
  /// After a piece.
  [[nodiscard]] std::size_t waiting(Piece piece) const;
  Piece read_piece(std::size_t least, std::size_t& got);
  /// A frame whose payload is these; `in_memory`: what it stands for beside them.
  Flow send_frame(std::string_view head, std::string_view body, std::string_view tail, std::size_t in_memory);

  struct Queued {
    std::string bytes;
    std::size_t messages = 0;   // that end with these bytes
    std::size_t in_memory = 0;  // what they stand for beside them
  };
  os::UniqueFd socket_;
  std::string greeting_;
  wire::FrameReader reader_;
  std::deque<Queued> queue_;
  std::size_t front_sent_ = 0;  // of the queue's first
  std::size_t queued_bytes_ = 0, queued_messages_ = 0;

 public:
  std::uint64_t id = 0;  ///< Never given to another one.
  std::string peer;      ///< Empty: it has not said who it is.
  UnreadInput unread;    ///< What it has sent of a message that is not all there.
  bool opened_by_us = false;

  // Shared memory: what was agreed on, each way.
  bool peer_understands = false;       ///< It has said so, if only in its greeting.
  bool told_that_we_do = false;        ///< Then descriptors may come.
  os::Passed passed;                   ///< The one that came last.
  std::optional<MemoryWriter> writer;  ///< The peer was passed its file.
  bool writer_is_mapped = false;       ///< And has it.
  std::optional<MemoryReader> reader;

  Watch watch;  // after the socket: it is to end first
  Watch greeting_deadline;
};

}  // namespace ipcm::transport
