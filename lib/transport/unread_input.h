#pragma once

#include <cstddef>
#include <utility>

namespace ipcm::transport {

// The incomplete input of one sender is limited by the largest message. Many senders together are not, so
// the whole process counts it too. The code that finds too much of it cuts off the sender with the most.

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
  /// Sets the present number of bytes.
  void count(std::size_t bytes) noexcept {
    if (bytes != bytes_) change(bytes);
  }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

  /// Returns the bytes of all senders together in this process.
  [[nodiscard]] static std::size_t all() noexcept;
  /// Returns 256 MiB, or $IPCM_INPUT_LIMIT (in MiB) as it is at the first call in a process.
  [[nodiscard]] static std::size_t limit();
  /// Throws UsageError if $IPCM_INPUT_LIMIT is no number in the range of 1 to 1048576. A member calls it when it
  /// joins; limit() takes a wrong value for none.
  static void check_limit();
  [[nodiscard]] static bool is_too_much() { return all() > limit(); }

 private:
  void change(std::size_t bytes) noexcept;
  std::size_t bytes_ = 0;
};

}  // namespace ipcm::transport
