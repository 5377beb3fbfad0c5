#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ipcm::transport {

// Frames with which two peers of ours agree on shared memory, and refer to messages in it (docs/bus.md,
// "Shared memory"). All begin with NUL "ipcm" and their kind, which no message does.

inline constexpr std::string_view kMemoryMark("\0ipcm", 5);

/// The longest frame, without the parts of a message that it carries.
inline constexpr std::size_t kMemoryFrameFixed = 26;

struct MemoryFrame {
  enum class Kind : std::uint8_t {
    understood = 2,  ///< the peer that accepted the connection supports shared memory too
    file = 3,        ///< a memory file comes with it; `size` bytes of it are for messages
    mapped = 4,      ///< the receiver has mapped it, and reads messages there from now on
    message = 5,     ///< `head`, `size` bytes of the file, which begin at `offset`, `tail`
  };
  Kind kind = Kind::understood;
  std::uint64_t offset = 0, size = 0;
  std::string_view head = {}, tail = {};  ///< borrowed
};

/// Returns the payload of the frame, without its tail.
[[nodiscard]] std::string write_memory_frame(const MemoryFrame& frame);
/// Returns the frame; nullopt: the payload is no frame of this kind. Throws ProtocolError for a damaged
/// frame, or one that this build does not know.
[[nodiscard]] std::optional<MemoryFrame> read_memory_frame(std::string_view payload);

}  // namespace ipcm::transport
