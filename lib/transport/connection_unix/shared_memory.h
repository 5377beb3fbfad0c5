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

// Large messages from one peer of ours to another, in memory that both have mapped. One file for each
// direction of a connection, made at the first large message and used for all that follow: a fresh one for
// each would cost more than it saves, since every page of it would have to be cleared and mapped anew.
//
//   first 64 KiB   eight bytes, read and written as one, in the machine's order: how many messages the reader
//                  has taken, ever; the rest is unused
//   the others     messages, each in one piece, which begins with a page
//
// Where a message stands goes through the socket, in its turn among all other frames. The reader takes them
// in that order and says so by counting up: no system call, and nobody ever waits for it. If there is no
// room, a message goes through the socket as it always could.
//
// Neither side believes the other. The reader copies first, and looks at the copy, since the writer may
// change the original meanwhile. The writer keeps its own notes of what stands where; a wrong count makes it
// overwrite what the other has not read, and nothing else.

/// From this size on, memory is so much faster than the socket (64 KiB: 35 µs there and back, not 53) that it
/// is worth a mapping and a descriptor.
inline constexpr std::size_t kSmallestInMemory = 64UL * 1024;
/// For messages, in each file. Most of it stays without pages.
inline constexpr std::size_t kSharedMemory = 64UL * 1024 * 1024;
inline constexpr std::size_t kSharedMemoryHead = 64UL * 1024;  // a multiple of any machine's pages

/// A part of what is for messages.
struct Place {
  std::uint64_t offset = 0, size = 0;
};

/// The end that sends. Threads: that of the connection.
class MemoryWriter {
 public:
  /// What may stand there unread, unless it is a single message: a reader that is behind takes the rest
  /// through the socket, whose limits are those of old.
  static constexpr std::size_t kMostUnread = 8UL * 1024 * 1024;

  MemoryWriter();  ///< Throws SystemError.
  /// For the reader.
  [[nodiscard]] int file() const { return file_.get(); }
  /// nullopt: no room, or no memory to be had.
  [[nodiscard]] std::optional<Place> put(std::string_view bytes);
  enum class Rest {
    used,    ///< something was put since it was asked last
    unread,  ///< nothing was, and not all has been read
    rests,   ///< nothing is left of it but a page
  };
  /// Gives its memory back to the system if it is not used.
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
  /// Of what the other side says is its file, with `size` bytes for messages. Throws ProtocolError if it is
  /// none, SystemError if there is no room to map it.
  MemoryReader(os::UniqueFd file, std::uint64_t size);
  /// A copy of what stands there, which is free for the next one from then on. Throws ProtocolError for a
  /// place outside.
  [[nodiscard]] wire::Body take(Place place);

 private:
  os::Mapping head_, memory_;
  std::uint64_t taken_ = 0;
};

}  // namespace ipcm::transport
