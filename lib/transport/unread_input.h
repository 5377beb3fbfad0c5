#pragma once

#include <cstddef>
#include <utility>

namespace ipcm::transport {

// Input that one sender has begun and not finished is limited by the largest message. That does not limit
// many senders together, so it is also counted for the whole process. Whoever finds too much of it cuts off
// the sender that takes the most.

/// The share of one sender.
class UnreadInput {
 public:
  UnreadInput() = default;
  UnreadInput(UnreadInput&& other) noexcept : bytes_(std::exchange(other.bytes_, 0)) {}
  UnreadInput& operator=(UnreadInput&& other) noexcept {
    count(0);
    bytes_ = std::exchange(other.bytes_, 0);
    return *this;
  }
  ~UnreadInput() { count(0); }
  /// So many bytes it is now.
  void count(std::size_t bytes) noexcept {
    if (bytes != bytes_) change(bytes);
  }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

  /// Of this process, all senders together.
  [[nodiscard]] static std::size_t all() noexcept;
  /// 256 MiB, or $IPCM_INPUT_LIMIT (in MiB) as it is when this is first called in a process.
  [[nodiscard]] static std::size_t limit();
  [[nodiscard]] static bool is_too_much() { return all() > limit(); }

 private:
  void change(std::size_t bytes) noexcept;
  std::size_t bytes_ = 0;
};

}  // namespace ipcm::transport
