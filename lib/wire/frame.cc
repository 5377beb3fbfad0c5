#include "wire/frame.h"

#include <algorithm>

namespace ipcm::wire {
namespace {

/// After a larger frame, its memory is released.
constexpr std::size_t kLargestKept = 4UL * 1024 * 1024;

std::size_t length_at(const char* header) {
  std::size_t length = 0;
  for (std::size_t i = 0; i < kFrameHeader; ++i)
    length = (length << 8U) | static_cast<std::uint8_t>(header[i]);
  return length;
}

}  // namespace

std::array<char, kFrameHeader> frame_header(std::size_t payload_size) {
  std::array<char, kFrameHeader> header{};
  for (std::size_t i = 0; i < kFrameHeader; ++i)
    header[i] = static_cast<char>((payload_size >> ((kFrameHeader - 1 - i) * 8)) & 0xFFU);
  return header;
}

std::span<char> FrameReader::room(std::size_t least) {
  if (at_ == used_) at_ = used_ = 0;
  if (at_ == used_ && buffer_.size() > kLargestKept) buffer_ = {};
  if (buffer_.size() - used_ < least && at_ > 0) {
    std::copy(buffer_.data() + at_, buffer_.data() + used_, buffer_.data());
    used_ -= at_;
    at_ = 0;
  }
  if (buffer_.size() - used_ < least) buffer_.resize(std::max(used_ + least, buffer_.size() * 2), used_);
  return buffer_.from(used_);
}

std::size_t FrameReader::announced() const {
  return used_ - at_ < kFrameHeader ? 0 : length_at(buffer_.data() + at_);
}

FrameReader::Next FrameReader::next(std::string_view& payload) {
  if (used_ - at_ < kFrameHeader) return Next::more;
  const std::size_t length = length_at(buffer_.data() + at_);
  if (length > kLargestFrame) return Next::too_large;
  if (used_ - at_ - kFrameHeader < length) return Next::more;
  payload = buffer_.view(at_ + kFrameHeader, length);
  at_ += kFrameHeader + length;
  return Next::frame;
}

}  // namespace ipcm::wire
