#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "os/buffer.h"

namespace ipcm::wire {

// A frame on a stream: the payload's length as four bytes, most significant first, then the payload.

inline constexpr std::size_t kFrameHeader = 4;
/// What we send and accept at most.
inline constexpr std::size_t kLargestFrame = 64UL * 1024 * 1024;

[[nodiscard]] std::array<char, kFrameHeader> frame_header(std::size_t payload_size);

/// Cuts a stream of bytes into frames. Memory grows with what has arrived, not with what a header announces.
class FrameReader {
 public:
  enum class Next { frame, more, too_large };
  /// Room for at least `least` bytes; what is then filled is told by filled().
  [[nodiscard]] std::span<char> room(std::size_t least);
  void filled(std::size_t count) { used_ += count; }
  /// The next whole frame; the view holds until the next call to room().
  [[nodiscard]] Next next(std::string_view& payload);
  /// How large the frame is that is now arriving; 0 while that is not known.
  [[nodiscard]] std::size_t announced() const;
  [[nodiscard]] bool in_mid_frame() const { return at_ < used_; }
  /// How much has come of a frame that is not all there.
  [[nodiscard]] std::size_t held() const { return used_ - at_; }

 private:
  os::Buffer buffer_;   // filled up to used_
  std::size_t at_ = 0;  // where the next frame begins
  std::size_t used_ = 0;
};

}  // namespace ipcm::wire
