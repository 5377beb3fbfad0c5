#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

namespace ipcm::os {

/// Room for bytes that nobody has set yet. What is not used of it takes no memory: its pages are never
/// touched, where those of a string or a vector are filled with zeros first.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t size);
  Buffer(Buffer&& other) noexcept : bytes_(std::move(other.bytes_)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    bytes_ = std::move(other.bytes_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  /// A larger one, or a smaller, that begins with the same `kept` bytes.
  void resize(std::size_t size, std::size_t kept);
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] char* data() { return bytes_.get(); }
  [[nodiscard]] const char* data() const { return bytes_.get(); }
  [[nodiscard]] std::span<char> from(std::size_t begin) { return {data() + begin, size_ - begin}; }
  /// Bytes that have been set.
  [[nodiscard]] std::string_view view(std::size_t begin, std::size_t count) const {
    return {data() + begin, count};
  }

 private:
  std::unique_ptr<char[]> bytes_;
  std::size_t size_ = 0;
};

}  // namespace ipcm::os
