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
/// The largest payload that is sent or accepted, in bytes.
inline constexpr std::size_t kLargestFrame = 64UL * 1024 * 1024;

[[nodiscard]] std::array<char, kFrameHeader> frame_header(std::size_t payload_size);

/// Cuts a stream of bytes into frames. Its memory grows with the bytes that have arrived, not with the length
/// that a header announces.
class FrameReader {
 public:
  enum class Next { frame, more, too_large };
  /// Returns memory for at least `least` bytes. The caller reports with filled() how many it has filled.
  [[nodiscard]] std::span<char> room(std::size_t least);
  void filled(std::size_t count) { used_ += count; }
  /// Returns the next whole frame; the view is valid until the next call to room().
  [[nodiscard]] Next next(std::string_view& payload);
  /// Returns the size of the arriving frame; 0 while it is unknown.
  [[nodiscard]] std::size_t announced() const;
  [[nodiscard]] bool in_mid_frame() const { return at_ < used_; }
  /// Returns the number of bytes that have arrived of an incomplete frame.
  [[nodiscard]] std::size_t held() const { return used_ - at_; }

 private:
  os::Buffer buffer_;   // filled up to used_
  std::size_t at_ = 0;  // where the next frame begins
  std::size_t used_ = 0;
};

}  // namespace ipcm::wire
