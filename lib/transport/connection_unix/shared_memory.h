#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "os/descriptor.h"
#include "os/shared_memory.h"
#include "wire/body.h"

namespace ipcm::transport {

// Large messages between two peers of ours, in memory that both have mapped. There is one file for each
// direction of a connection, made at the first large message and used for all that follow: a new file for
// each message would cost more than it saves, since the kernel would have to clear and map every page
// again.
//
//   first 64 KiB   eight bytes, read and written as one, in the machine's order: how many messages the
//                  reader has taken so far; the rest is unused
//   the others     messages, each in one piece, which begins at a page
//
// The place of a message in the file goes through the socket, in order with all other frames. The reader
// takes the messages in that order, and counts them in the first bytes: that needs no system call, and
// neither side waits for the other. If there is no room, the message goes through the socket.
//
// Neither side trusts the other. The reader copies a message before it looks at it, since the writer may
// change the original meanwhile. The writer keeps its own list of places; a wrong count only makes it
// overwrite messages that the peer has not read.

/// From this size on, shared memory is worth a mapping and a descriptor (64 KiB: 35 µs there and back, 53
/// µs through the socket).
inline constexpr std::size_t kSmallestInMemory = 64UL * 1024;
/// The bytes for messages in each file. Most of them have no pages.
inline constexpr std::size_t kSharedMemory = 64UL * 1024 * 1024;
inline constexpr std::size_t kSharedMemoryHead = 64UL * 1024;  // a multiple of any machine's pages

/// The place of a message in the file.
struct Place {
  std::uint64_t offset = 0, size = 0;
};

/// The end that sends. It belongs to the thread of the connection.
class MemoryWriter {
 public:
  /// The limit of unread bytes, unless they are a single message: a slow reader gets the rest through the
  /// socket.
  static constexpr std::size_t kMostUnread = 8UL * 1024 * 1024;

  MemoryWriter();  ///< Throws SystemError.
  /// For the reader.
  [[nodiscard]] int file() const { return file_.get(); }
  /// Stores a message; nullopt: there is no room, or no memory.
  [[nodiscard]] std::optional<Place> put(std::string_view bytes);
  enum class Rest {
    used,    ///< a message was put since the last call
    unread,  ///< no message was put, and some are unread
    rests,   ///< its memory was given back, but for a page
  };
  /// Gives the memory back to the system if it is not used.
  Rest rest() noexcept;

 private:
  [[nodiscard]] std::optional<std::size_t> find_room(std::size_t size) const;
  void forget_taken() noexcept;

  os::UniqueFd file_;
  os::Mapping memory_;
  std::deque<Place> unread_;  // in whole pages
  std::uint64_t put_ = 0;     // messages, ever
  std::size_t reserved_ = 0;  // as much of it has pages
  bool used_ = false;         // since rest()
};

/// The end that receives.
class MemoryReader {
 public:
  /// Maps the file of the peer, with `size` bytes for messages. Throws ProtocolError for a wrong file,
  /// SystemError if it cannot be mapped.
  MemoryReader(os::UniqueFd file, std::uint64_t size);
  /// Returns a copy of a message, and frees its place. Throws ProtocolError for a place outside the file.
  [[nodiscard]] wire::Body take(Place place);

 private:
  os::Mapping head_, memory_;
  std::uint64_t taken_ = 0;
};

}  // namespace ipcm::transport
